#include <algorithm>
#include <cmath>

#include "model/model_config.h"

namespace r1 {
namespace {

std::int64_t rotated_width(const ModelConfig& c) {
  if (c.mla) return c.mla->qk_rope_head_dim;
  return c.rotary_dim > 0 ? c.rotary_dim : c.head_dim;
}

// YaRN (arXiv:2309.00071): dimensions that turn often keep their frequency, slow ones are interpolated, a ramp between.
void scale_yarn(const ModelConfig& config, std::vector<float>& frequencies) {
  const RopeScaling& s = config.rope_scaling;
  const auto dim = static_cast<double>(2 * frequencies.size());
  const auto place_of = [&](double turns) {
    return dim * std::log(static_cast<double>(s.original_max_position_embeddings) / (turns * 2 * M_PI)) / (2 * std::log(config.rope_theta));
  };
  double low = place_of(s.beta_fast), high = place_of(s.beta_slow);
  if (s.truncate) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0), high = std::min(high, dim - 1);
  if (low == high) high += 0.001;
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    // transformers' roundings: the ramp in float32, the power before its inverse.
    const float ramp = std::clamp((static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low), 0.f, 1.f);
    const float keep = 1 - ramp;
    const float power = static_cast<float>(std::pow(config.rope_theta, static_cast<double>(static_cast<float>(2 * i) / static_cast<float>(dim))));
    frequencies[i] = 1 / (static_cast<float>(s.factor) * power) * (1 - keep) + 1 / power * keep;
  }
}

}  // namespace

double rope_attention_factor(const ModelConfig& config) {
  const RopeScaling& s = config.rope_scaling;
  if (s.kind != RopeScaling::Kind::kYarn && s.kind != RopeScaling::Kind::kLong) return 1;
  if (s.attention_factor > 0) return s.attention_factor;
  if (s.kind == RopeScaling::Kind::kLong)
    return s.factor <= 1 ? 1 : std::sqrt(1 + std::log(s.factor) / std::log(static_cast<double>(s.original_max_position_embeddings)));
  const auto m = [&](double mscale) { return s.factor <= 1 ? 1 : 0.1 * mscale * std::log(s.factor) + 1; };
  return s.mscale != 0 && s.mscale_all_dim != 0 ? m(s.mscale) / m(s.mscale_all_dim) : m(1);
}

// The steps and roundings of transformers' modeling_rope_utils.py: frequencies in float32 (the power alone in float64,
// which its vector pow() meets within a unit in the last place), scaling in float32 too.
std::vector<float> rope_inverse_frequencies(const ModelConfig& config, bool local) {
  constexpr float kTwoPi = 6.283185307179586f;
  const RopeScaling s = local ? RopeScaling{} : config.rope_scaling;
  const double theta = local ? config.rope_local_theta : config.rope_theta;
  std::vector<float> frequencies(static_cast<std::size_t>(rotated_width(config) / 2));
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(2 * frequencies.size());
    const float plain = 1.0f / static_cast<float>(std::pow(theta, static_cast<double>(exponent)));
    const auto factor = static_cast<float>(s.factor);
    float& out = frequencies[i];
    out = plain;
    if (s.kind == RopeScaling::Kind::kLinear) out = plain / factor;
    if (s.kind == RopeScaling::Kind::kLong)
      out = 1.0f / (static_cast<float>((s.long_context ? s.long_factors : s.short_factors)[i]) * static_cast<float>(std::pow(theta, static_cast<double>(exponent))));
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
  if (s.kind == RopeScaling::Kind::kYarn) scale_yarn(config, frequencies);
  return frequencies;
}

}  // namespace r1
