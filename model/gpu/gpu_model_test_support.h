// For the tests of the GPU's transformer and of what stands on it: a small model on both devices, packed batches with shared prompts.
#pragma once

#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "core/compute_pool.h"
#include "kernels/gpu/test_support.h"
#include "model/gpu/gpu_training.h"
#include "model/transformer.h"

namespace r1::gpu_model_test {

using gpu::test::Random;

inline ModelConfig small_config(const std::string& type) {
  ModelConfig c;
  c.model_type = type;
  c.hidden_size = 128, c.num_hidden_layers = 3, c.num_attention_heads = 4, c.num_key_value_heads = 2, c.head_dim = 64;
  c.intermediate_size = 256, c.vocab_size = 503, c.max_position_embeddings = 1024;
  c.rms_norm_eps = 1e-5f;
  c.tie_word_embeddings = type != "llama";
  c.qkv_bias = type == "qwen2";
  c.qk_norm = type == "qwen3";
  return c;
}

// Groups with shared prompts, a lone sequence; predictors as the learner makes them: several answers start at one prompt row.
inline PackedBatch make_batch(std::int64_t vocab, std::uint64_t seed) {
  PackedBatch b;
  Random random(seed);
  const auto add = [&](std::int32_t rows, std::int32_t from, std::int32_t to) {
    const auto begin = static_cast<std::int32_t>(b.tokens.size());
    for (std::int32_t i = 0; i < rows; ++i) {
      b.tokens.push_back(random.below(vocab));
      b.positions.push_back((from < 0 ? 0 : to - from) + i);
    }
    b.sequences.push_back({begin, begin + rows, from, to});
    const auto predict = [&](std::int32_t row) { b.predictors.push_back(row), b.targets.push_back(random.below(vocab)); };
    if (from >= 0) predict(to - 1);
    if (from >= 0 || rows > 90)
      for (std::int32_t i = 0; i < rows; ++i) predict(begin + i);
    return begin;
  };
  add(70, -1, -1);
  for (const std::int32_t n : {9, 100, 33}) add(n, 0, 70);
  add(100, -1, -1);
  return b;
}

inline void give_weights(WeightStore& store, std::uint64_t seed) {
  init_random(store, seed, 0.08f);
  // Norms and biases away from 1 and 0.
  for (const Parameter& p : store.parameters()) {
    if (!p.name.ends_with("norm.weight") && !p.name.ends_with(".bias")) continue;
    std::vector<float> values = gpu::test::floats(p.elements, seed + static_cast<std::uint64_t>(p.offset), 0.2f, p.name.ends_with(".bias") ? 0.f : 1.f);
    store.set({p.name, DType::kF32, p.shape, reinterpret_cast<const std::byte*>(values.data()), -1});
  }
}

struct Pair {
  ComputePool pool{2};
  Transformer cpu;       // bfloat16
  Transformer exact;     // float32 arithmetic on the same rounded weights
  GpuTransformer gpu;
  gpu::DeviceMemory memory{std::size_t{256} << 20};
  GpuRegion region{memory};
  explicit Pair(const std::string& type) : Pair(small_config(type)) {}
  explicit Pair(const ModelConfig& config) : cpu(config, DType::kBF16, pool), exact(config, DType::kF32, pool), gpu(config) {
    give_weights(cpu.weights(), 11);
    for (const Parameter& p : cpu.weights().buffers()) {
      const std::vector<float> values = gpu::test::floats(p.elements, 12, 0.1f);
      std::copy(values.begin(), values.end(), cpu.weights().buffer(p));
    }
    cpu.weights_changed();
    exact.weights().load(cpu.weights().snapshot(0));
    exact.weights_changed();
    gpu.weights().load(cpu.weights().snapshot(0));
  }
};

inline double relative_error(std::span<const float> got, std::span<const float> want) {
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    error += (double{got[i]} - want[i]) * (double{got[i]} - want[i]);
    norm += double{want[i]} * want[i];
  }
  return std::isfinite(error) ? std::sqrt(error / norm) : INFINITY;
}

}  // namespace r1::gpu_model_test
