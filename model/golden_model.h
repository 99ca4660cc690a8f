// The tiny models of tests/golden/model and what transformers computed with them (made by tests/golden/model_golden.py).
#pragma once

#include <cmath>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "model/hf_directory.h"
#include "model/safetensors.h"

namespace r1::test {

inline const std::vector<std::string> kGoldenFamilies = {"tiny-llama3", "tiny-llama-tied", "tiny-llama-bias",
                                                         "tiny-qwen2", "tiny-qwen2-tied", "tiny-qwen3"};
inline const std::vector<std::string> kGoldenDense = {"tiny-mistral", "tiny-phi3", "tiny-phi3-partial", "tiny-phi3-short", "tiny-olmo2", "tiny-gemma2", "tiny-gemma3"};
inline const std::vector<std::string> kGoldenExperts = {"tiny-qwen3-moe", "tiny-qwen2-moe", "tiny-mixtral", "tiny-v1", "tiny-v2", "tiny-v2-groups", "tiny-v3"};
inline std::vector<std::string> all_golden_families() {
  std::vector<std::string> all = kGoldenFamilies;
  all.insert(all.end(), kGoldenDense.begin(), kGoldenDense.end());
  all.insert(all.end(), kGoldenExperts.begin(), kGoldenExperts.end());
  return all;
}

struct GoldenModel {
  explicit GoldenModel(const std::string& family)
      : model(std::filesystem::path(R1_SOURCE_DIR) / "tests/golden/model" / family), expected(model.path() / "expected.safetensors") {
    const TensorView& t = expected.at("tokens");
    batch = t.shape[0], length = t.shape[1];
    tokens.resize(static_cast<std::size_t>(t.elements()));
    std::memcpy(tokens.data(), t.data, t.bytes());
  }
  std::vector<float> floats(const std::string& name) const {
    const TensorView& t = expected.at(name);
    std::vector<float> out(static_cast<std::size_t>(t.elements()));
    std::memcpy(out.data(), t.data, t.bytes());
    return out;
  }
  // transformers takes LongRoPE's long factors for sequences beyond the original context.
  ModelConfig config() const {
    ModelConfig c = model.config();
    c.rope_scaling.long_context = c.rope_scaling.kind == RopeScaling::Kind::kLong && length > c.rope_scaling.original_max_position_embeddings;
    return c;
  }
  // Names of the gradients with this prefix, without it.
  std::vector<std::string> gradients(const std::string& prefix) const {
    std::vector<std::string> names;
    for (const TensorView& t : expected.tensors())
      if (t.name.starts_with(prefix)) names.push_back(t.name.substr(prefix.size()));
    return names;
  }
  float temperature_of_mixed() const { return std::stof(expected.metadata().at("temperature_of_mixed")); }

  ModelDirectory model;
  SafetensorsFile expected;
  std::vector<std::int64_t> tokens;  // [batch][length]
  std::int64_t batch = 0, length = 0;
};

// max |a - b| / max |b|; infinite if anything is not finite or the sizes differ.
inline double relative_error(const float* a, std::size_t n, const std::vector<float>& b) {
  double difference = 0, largest = 0;
  if (n != b.size()) return INFINITY;
  for (std::size_t i = 0; i < n; ++i) {
    if (!std::isfinite(a[i])) return INFINITY;
    difference = std::fmax(difference, std::fabs(static_cast<double>(a[i]) - b[i]));
    largest = std::fmax(largest, std::fabs(static_cast<double>(b[i])));
  }
  return difference / std::fmax(largest, 1e-30);
}

}  // namespace r1::test
