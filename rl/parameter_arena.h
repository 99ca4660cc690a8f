// Float32 master, gradient and Adam moments of a host model, laid out like its weight arena.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/compute_pool.h"
#include "core/weights.h"
#include "kernels/cpu.h"
#include "model/weight_store.h"
#include "rl/policy.h"

namespace r1 {

// The live weights of a host model: parameters, and the memory they lie in (kF32 or kBF16).
struct LiveWeights {
  std::span<const Parameter> parameters;
  std::byte* data = nullptr;
  DType dtype = DType::kF32;
  std::int64_t elements = 0;  // padding included
};

// Where a bfloat16 model's master starts.
enum class MasterStart : std::uint8_t {
  kExact,  // on the bfloat16 grid, in the middle of the rounding cells: a weight answers only once its updates add up
           // to half a cell (at a rate of 1e-6 and a weight of 0.1 some 240 updates), then all at once
  kSpread,  // anywhere in its cell, drawn from a fixed seed: the live weights are the same, and each update moves its
            // share of them from the first on, so that on average they follow the master
};

// What the arena holds beside the live weights.
enum class ArenaParts : std::uint8_t {
  kAll,
  kGradient,  // for weights that somebody else changes (LoRA): no master, no moments, no adamw()
};

// Invariants: padding between parameters is 0 in all four arrays; a float32 model's master is its live arena itself.
class ParameterArena {
 public:
  // The live weights outlive the arena, as does the pool. The master rounds to the live weights.
  ParameterArena(const LiveWeights& live, ComputePool& pool, MasterStart start = MasterStart::kExact, ArenaParts parts = ArenaParts::kAll);

  std::span<float> master() { return {master_, size_}; }
  std::span<const float> master() const { return {master_, size_}; }
  std::span<float> gradient() { return gradient_; }
  std::span<const float> gradient() const { return gradient_; }

  void zero_gradient();
  double gradient_sum_of_squares();
  void adamw(const AdamWStep& step);  // also rewrites the live weights
  // After other weights were loaded: the master is the live weights, or `source` itself where that is float32.
  void load_master(const WeightSnapshot& source);
  std::optional<NonFinite> find_non_finite(ParameterPart part);
  WeightSnapshot state() const;       // views of this arena; empty with kGradient
  void restore(const WeightSnapshot& state);

 private:
  void copy_from_live();
  void write_live();
  LiveWeights live_;
  ComputePool& pool_;
  MasterStart start_;
  ArenaParts parts_;
  std::size_t size_;
  std::vector<float> own_master_;  // empty for a float32 model
  float* master_;
  std::vector<float> gradient_, exp_avg_, exp_avg_sq_;
};

}  // namespace r1
