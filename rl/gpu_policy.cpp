#include "rl/gpu_policy.h"

#include "comm/session.h"
#include "core/error.h"

namespace r1 {

GpuPolicy::GpuPolicy(GpuTransformer& model, GpuRegion& region, Options options)
    : model_(model), recompute_(options.recompute), training_(model, region), optimizer_(model, options.optimizer, options.master_start, options.shard),
      sharded_(options.shard.count > 1) {}

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
  if (zero > 1)
    throw ConfigError(message("train.zero is ", zero, ": on the GPU the gradient stays whole; use 1 or 0, with train.gradients: bfloat16 where memory is short"));
  R1_CHECK((zero == 1) == sharded_, "train.zero ", zero, " of a policy that was made ", sharded_ ? "with" : "without", " a shard");
  session.device_comm();  // now, while all ranks are here
  optimizer_.join(session);
}

void GpuPolicy::close_lane() {
  if (++closed_lanes_ > 1) throw ConfigError("train.lanes above the number of ranks needs a gradient a lane, which the GPU's plan has no room for; leave train.lanes out");
}

void GpuPolicy::finish_gradient() { optimizer_.sum_gradient(); }

}  // namespace r1
