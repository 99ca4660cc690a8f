// For tests: what tests/golden/sft_golden.py wrote, and the tiny models it is of.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/compute_pool.h"
#include "core/files.h"
#include "model/golden_model.h"
#include "model/transformer.h"
#include "rl/transformer_policy.h"
#include "sft/examples.h"

namespace r1::test {

inline std::filesystem::path golden_sft() { return std::filesystem::path(R1_SOURCE_DIR) / "tests/golden/sft"; }

inline std::vector<float> floats_of(const SafetensorsFile& file, const std::string& name) {
  const TensorView& t = file.at(name);
  std::vector<float> out(static_cast<std::size_t>(t.elements()));
  std::memcpy(out.data(), t.data, t.bytes());
  return out;
}

struct SftGolden {
  explicit SftGolden(const std::string& family) : gradients(golden_sft() / (family + ".safetensors")) {
    const auto json = nlohmann::json::parse(read_file(golden_sft() / (family + ".json")));
    for (const auto& e : json.at("examples"))
      examples.push_back(
          {"e" + std::to_string(examples.size()), e.at("tokens").get<std::vector<TokenId>>(), e.at("mask").get<std::vector<std::uint8_t>>()});
    loss = json.at("loss");
    trl = json.at("trl");
  }
  std::vector<float> floats(const std::string& name) const { return floats_of(gradients, name); }

  std::vector<SftExample> examples;
  double loss = 0;
  nlohmann::json trl;
  SafetensorsFile gradients;
};

// A golden model in float32 as a policy.
struct GoldenPolicy {
  explicit GoldenPolicy(const std::string& family, DType dtype = DType::kF32, int threads = 1, TransformerPolicy::Options options = {})
      : pool(threads), model(GoldenModel(family).model.config(), dtype, pool), policy((load(family), model), options) {}
  ComputePool pool;
  Transformer model;
  TransformerPolicy policy;

 private:
  void load(const std::string& family) {
    model.weights().load(GoldenModel(family).model.snapshot());
    model.weights_changed();
  }
};

}  // namespace r1::test
