#include <cmath>

#include "model/model_config.h"

namespace r1 {

// The steps and roundings of transformers' modeling_rope_utils.py: frequencies in float32 (the power alone in float64,
// which its vector pow() meets within a unit in the last place), scaling in float32 too.
std::vector<float> rope_inverse_frequencies(const ModelConfig& config) {
  constexpr float kTwoPi = 6.283185307179586f;
  const RopeScaling& s = config.rope_scaling;
  std::vector<float> frequencies(static_cast<std::size_t>(config.head_dim / 2));
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(config.head_dim);
    const float plain = 1.0f / static_cast<float>(std::pow(config.rope_theta, static_cast<double>(exponent)));
    const auto factor = static_cast<float>(s.factor);
    float& out = frequencies[i];
    out = plain;
    if (s.kind == RopeScaling::Kind::kLinear) out = plain / factor;
    if (s.kind != RopeScaling::Kind::kLlama3) continue;
    const auto context = static_cast<float>(s.original_max_position_embeddings);
    const auto low = static_cast<float>(s.low_freq_factor), high = static_cast<float>(s.high_freq_factor);
    const float wavelength = kTwoPi / plain;
    if (wavelength > context / low) {
      out = plain / factor;
    } else if (wavelength >= context / high) {
      const float smooth = (context / wavelength - low) / (high - low);
      out = (1 - smooth) * (plain / factor) + smooth * plain;
    }
  }
  return frequencies;
}

}  // namespace r1
