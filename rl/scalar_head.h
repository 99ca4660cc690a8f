// The head of a value model: a [D] vector, perhaps a bias, float32 on the host with gradient and moments of its own. The backbone's
// device does the products; for a head on the GPU `weight()` is copied there whenever it changed.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/compute_pool.h"
#include "rl/parameter_arena.h"

namespace r1 {

// Not thread-safe.
class ScalarHead {
 public:
  struct Options {
    double std = 0;          // starts at N(0, std); 0: every score starts at 0
    std::uint64_t seed = 0;  // of that draw
    bool bias = false;
  };
  // The pool outlives it.
  ScalarHead(std::int64_t width, const Options& options, ComputePool& pool);

  std::span<const float> weight() const { return {values_.data(), static_cast<std::size_t>(width_)}; }
  float bias() const { return bias_ ? values_.back() : 0.f; }
  std::span<const float> values() const { return values_; }  // weight, then bias
  ParameterArena& arena() { return arena_; }
  const ParameterArena& arena() const { return arena_; }
  // d_weight [D]; the bias's gradient is the sum of d_scores.
  template <class Number>
  void add_gradient(std::span<const Number> d_weight, std::span<const float> d_scores) {
    const std::span<float> grad = arena_.gradient();
    for (std::size_t j = 0; j < d_weight.size(); ++j) grad[j] = static_cast<float>(grad[j] + d_weight[j]);
    if (!bias_) return;
    double sum = 0;
    for (float v : d_scores) sum += v;
    grad[d_weight.size()] = static_cast<float>(grad[d_weight.size()] + sum);
  }

  void append_views(WeightSnapshot& out) const;  // score.weight [1,D], score.bias [1]: valid while this lives
  // Takes the head's tensors out of a scorer's: gives the backbone's, and the head's values for set(). Throws CheckpointError naming a
  // tensor that is missing or misshapen; nothing is changed.
  WeightSnapshot split(const WeightSnapshot& weights, std::vector<float>& values) const;
  void set(std::span<const float> values);

 private:
  std::int64_t width_;
  bool bias_;
  std::vector<Parameter> parameters_;
  std::vector<float> values_;  // live weights and master in one
  ParameterArena arena_;
};

}  // namespace r1
