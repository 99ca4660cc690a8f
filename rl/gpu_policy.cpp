#include "rl/gpu_policy.h"

namespace r1 {

GpuPolicy::GpuPolicy(GpuTransformer& model, GpuRegion& region, Options options)
    : model_(model), recompute_(options.recompute), training_(model, region), optimizer_(model, options.optimizer, options.master_start) {}

LogprobRows GpuPolicy::evaluate(const PackedBatch& batch, float temperature, bool want_entropies) {
  return training_.evaluate(batch, temperature, want_entropies);
}
LogprobRows GpuPolicy::forward(const PackedBatch& batch, float temperature, bool want_entropies) {
  return training_.forward(batch, temperature, want_entropies, recompute_);
}
void GpuPolicy::backward(std::span<const float> d_logprobs, std::span<const float> d_entropies) {
  training_.backward(d_logprobs, d_entropies, optimizer_.gradient());
}
void GpuPolicy::load(const WeightSnapshot& weights) {
  model_.weights().load(weights);
  optimizer_.load_master(weights);
}

}  // namespace r1
