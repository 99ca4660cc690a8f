// Exact resume of the learner: what is saved beside the live weights, and back.
#include <cmath>
#include <cstring>
#include <limits>

#include "core/error.h"
#include "rl/learner.h"

namespace r1 {
namespace {

constexpr const char *kReference = "reference.", *kOld = "rollout.old_logprobs", *kRef = "rollout.ref_logprobs";

// One value a token of every sample; NaN where a sample's were not computed.
std::vector<float> pack(const std::vector<std::vector<float>>& values, std::span<const TrainSample> samples) {
  std::vector<float> out;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    if (values[i].empty())
      out.insert(out.end(), samples[i].tokens.size(), std::numeric_limits<float>::quiet_NaN());
    else
      out.insert(out.end(), values[i].begin(), values[i].end());
  }
  return out;
}

void unpack(const TensorView& from, std::span<const TrainSample> samples, std::vector<std::vector<float>>& out) {
  std::size_t tokens = 0;
  for (const TrainSample& s : samples) tokens += s.tokens.size();
  if (from.dtype != DType::kF32 || static_cast<std::size_t>(from.elements()) != tokens)
    throw CheckpointError(message(from.name, " holds ", from.elements(), " values, the rollout has ", tokens,
                                  " tokens: checkpoint and journal are not of one run"));
  const auto* data = reinterpret_cast<const float*>(from.data);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const std::size_t n = samples[i].tokens.size();
    std::vector<float> values(n);
    std::memcpy(values.data(), data, n * sizeof(float));
    data += n;
    if (n > 0 && std::isnan(values[0])) values.clear();
    out[i] = std::move(values);
  }
}

TensorView view(const char* name, const std::vector<float>& values) {
  return {name,
          DType::kF32,
          {static_cast<std::int64_t>(values.size())},
          reinterpret_cast<const std::byte*>(values.data()),
          -1};
}

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
  if (next_update_ > 0 && !rollout_done()) {
    packed_old_ = pack(old_, samples_);
    packed_ref_ = pack(ref_, samples_);
    out.tensors.push_back(view(kOld, packed_old_));
    out.tensors.push_back(view(kRef, packed_ref_));
  }
  return out;
}

void GrpoLearner::restore(const WeightSnapshot& state, std::int64_t updates, std::uint64_t rollout, int next_update,
                          std::vector<TrainSample> samples) {
  WeightSnapshot reference;
  const TensorView *old = nullptr, *ref = nullptr;
  for (const TensorView& t : state.tensors) {
    if (t.name == kOld) old = &t;
    if (t.name == kRef) ref = &t;
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
  if (next_update == 0) return;
  if (!old || !ref)
    throw CheckpointError(
        message("update ", next_update, " of a rollout was next, but the state lacks ", old ? kRef : kOld));
  unpack(*old, samples_, old_);
  unpack(*ref, samples_, ref_);
  finish_advantages();
  next_update_ = next_update;
}

}  // namespace r1
