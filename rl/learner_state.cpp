// Exact resume of the learner: what is saved beside the live weights, and back.
#include <cmath>
#include <cstring>
#include <limits>

#include "core/error.h"
#include "rl/learner.h"

namespace r1 {
namespace {

constexpr const char *kReference = "reference.", *kOld = "rollout.old_logprobs", *kRef = "rollout.ref_logprobs";
// float64: the KL coefficient in the reward, the entropy coefficient, the entropy last measured, the critic's updates.
constexpr const char* kNumbers = "learner.numbers";
constexpr std::int64_t kNumNumbers = 4;

}  // namespace

WeightSnapshot GrpoLearner::state() const {
  WeightSnapshot out = policy_.optimizer_state();
  out.version = version();
  if (reference_refreshed_) {
    const WeightSnapshot reference = reference_->host_weights(0);
    for (TensorView t : reference.tensors) {
      t.name = kReference + t.name;
      out.tensors.push_back(std::move(t));
    }
    out.owner = std::make_shared<std::pair<std::shared_ptr<const void>, std::shared_ptr<const void>>>(out.owner, reference.owner);
  }
  const bool inside = next_update_ > 0 && !rollout_done();
  if (critic_) critic_->append_state(out, samples_, inside);
  if (inside) {
    packed_old_ = pack(old_, samples_);
    packed_ref_ = pack(ref_, samples_);
    out.tensors.push_back(float_view(kOld, packed_old_));
    out.tensors.push_back(float_view(kRef, packed_ref_));
  }
  if (options_.has_numbers()) {
    packed_numbers_ = {kl_in_reward_, entropy_.coefficient, entropy_.last_entropy, critic_ ? static_cast<double>(critic_->updates()) : 0};
    out.tensors.push_back({kNumbers, DType::kF64, {kNumNumbers}, reinterpret_cast<const std::byte*>(packed_numbers_.data()), -1});
  }
  return out;
}

void GrpoLearner::restore(const WeightSnapshot& state, std::int64_t updates, std::uint64_t rollout, int next_update,
                          std::vector<TrainSample> samples) {
  WeightSnapshot reference;
  const TensorView *old = nullptr, *ref = nullptr, *numbers = nullptr;
  for (const TensorView& t : state.tensors) {
    if (t.name == kOld) old = &t;
    if (t.name == kRef) ref = &t;
    if (t.name == kNumbers && t.dtype == DType::kF64 && t.elements() == kNumNumbers) numbers = &t;
    if (t.name.starts_with(kReference)) {
      reference.tensors.push_back(t);
      reference.tensors.back().name = t.name.substr(std::strlen(kReference));
    }
  }
  policy_.restore_optimizer_state(state);
  optimizer_.set_updates(updates);
  reference_refreshed_ = !reference.tensors.empty();
  if (reference_refreshed_) {
    if (!reference_) throw CheckpointError("the checkpoint holds a reference model, the recipe has no KL term");
    reference_->load(reference);
  }
  prepare(std::move(samples), rollout);
  if (options_.has_numbers()) {
    if (!numbers) throw CheckpointError(message("the checkpoint lacks ", kNumbers, ": it is of a run without these coefficients"));
    double values[kNumNumbers];
    std::memcpy(values, numbers->data, sizeof values);
    kl_in_reward_ = values[0];
    entropy_ = {values[1], values[2]};
    if (critic_) critic_->restore(state, static_cast<std::int64_t>(values[3]), samples_, next_update > 0);
  }
  if (next_update == 0) return;
  if (!old || !ref)
    throw CheckpointError(
        message("update ", next_update, " of a rollout was next, but the state lacks ", old ? kRef : kOld));
  old_ = unpack(*old, samples_);
  ref_ = unpack(*ref, samples_);
  finish_advantages();
  next_update_ = next_update;
}

}  // namespace r1
