// LoRA (arXiv:2106.09685): low-rank pairs A, B beside chosen weight matrices, W = W0 + scale B A; read and written as Hugging Face PEFT
// directories (adapter_config.json, adapter_model.safetensors).
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "core/compute_pool.h"
#include "core/weights.h"
#include "model/model_config.h"
#include "model/weight_store.h"

namespace r1 {

struct LoraOptions {
  int rank = 16;
  double alpha = 32;
  // Names of projections (q_proj, down_proj, ...), or all-linear: every matrix but the embedding and the LM head.
  std::vector<std::string> targets = {"all-linear"};
  bool rslora = false;      // scale = alpha / sqrt(rank) (arXiv:2312.03732) instead of alpha / rank
  std::uint64_t seed = 0;   // of A, and of dropout
  double dropout = 0;       // share of a pair's inputs that a micro-batch leaves out (rl/lora_training.h)
  double scale() const;
};

// The pair of one weight [out, in]. A [rank, in] and B [out, rank] lie in the adapter's values; `column` of its inputs in a mask.
struct LoraPair {
  Parameter weight;
  std::int64_t out = 0, in = 0, a = 0, b = 0, column = 0;
};

class LoraAdapter {
 public:
  // A uniform in +-1/sqrt(in) (PEFT's kaiming_uniform with a = sqrt 5), drawn by (seed, pair); B = 0: the model is as before. Throws
  // ConfigError for a target that the model has none of.
  LoraAdapter(const ModelConfig& config, const LoraOptions& options);
  // A PEFT directory. Its tensors decide which weights have pairs. Throws CheckpointError for a setting that changes the computation
  // and is not honoured (DoRA, biases, patterns of ranks, ...), tensors that do not fit the model, or a pair that is not whole.
  static LoraAdapter load(const std::filesystem::path& dir, const ModelConfig& config);
  static bool is_adapter(const std::filesystem::path& dir);            // holds an adapter_config.json
  static std::string base_model(const std::filesystem::path& dir);     // base_model_name_or_path; "" if it names none

  const LoraOptions& options() const { return options_; }
  std::span<const LoraPair> pairs() const { return pairs_; }
  std::span<const Parameter> parameters() const { return parameters_; }  // PEFT's names, in the order of values()
  std::span<float> values() { return values_; }
  std::span<const float> values() const { return values_; }
  void set_b_to_zero();
  void set_dropout(double dropout, std::uint64_t seed) { options_.dropout = dropout, options_.seed = seed; }
  std::int64_t columns() const { return pairs_.empty() ? 0 : pairs_.back().column + pairs_.back().in; }  // inputs of all pairs

  // A PEFT directory in float32; the folder is made. `base_model` is what base_model_name_or_path says. `score` [D]: the head of a
  // sequence classifier of one label, which is trained beside the pairs; empty = a causal model.
  void save(const std::filesystem::path& dir, const std::string& base_model, std::span<const float> score = {}) const;

  // W0 + scale B A of one pair in the type of `base` [out, in] (kF32, kBF16). `values`: these, or with A's columns masked. `spread`: a
  // bfloat16 base counts as the float32 numbers that core/spread.h puts in its cells, so that the rounded sum follows small B A on
  // average; with B = 0 it is the base either way.
  void merge(const LoraPair& pair, std::span<const float> values, const std::byte* base, DType dtype, bool spread, std::byte* out,
             ComputePool& pool) const;
  // Adds this adapter to the live weights of a host model.
  void merge_into(WeightStore& store, ComputePool& pool) const;
  // The gradient of the values from that of the merged weights, `model_gradient` in the arena order of parameter_layout():
  // dB = scale dW A^T, dA = scale B^T dW; with a mask [columns], A and dA have their columns multiplied by it (`values` has it in
  // already). Adds to `out` [values]. Sums have one order, whatever the threads.
  void project(std::span<const float> model_gradient, std::span<const float> values, std::span<const float> mask, std::span<float> out,
               ComputePool& pool) const;

 private:
  LoraAdapter() = default;
  void lay_out(const std::vector<Parameter>& weights);
  LoraOptions options_;
  std::vector<LoraPair> pairs_;
  std::vector<Parameter> parameters_;
  std::vector<float> values_;
};

}  // namespace r1
