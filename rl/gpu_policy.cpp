#include "rl/gpu_policy.h"

#include "comm/session.h"
#include "core/error.h"

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


void GpuPolicy::join(Session& session, int zero) {
  if (session.world() == 1) return;
  if (zero > 0)
    throw ConfigError(message("train.zero is ", zero, ": on the GPU every rank keeps the whole state; use train.zero: 0, with train.moments: 8bit and train.master: split where memory is short"));
  session_ = &session;
  session.device_comm();  // now, while all ranks are here
}

void GpuPolicy::close_lane() {
  if (++closed_lanes_ > 1) throw ConfigError("train.lanes above the number of ranks needs a gradient a lane, which the GPU's plan has no room for; leave train.lanes out");
}

void GpuPolicy::finish_gradient() {
  if (!session_) return;
  model_.synchronize();
  const GpuGradient g = optimizer_.gradient();
  void* const data = g.is_bf16() ? static_cast<void*>(g.bf16()) : static_cast<void*>(g.f32());
  session_->device_comm().all_reduce(data, g.is_bf16() ? DType::kBF16 : DType::kF32, model_.weights().elements(), "the gradient's sum");
}

}  // namespace r1
