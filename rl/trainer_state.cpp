// Saving and resuming the training loop.
#include <memory>

#include "core/error.h"
#include "core/serialize.h"
#include "rl/trainer.h"

namespace r1 {
namespace {

constexpr const char* kGroups = "rollout.groups";  // scored groups of the rollout in progress, each with a u64 length

std::string pack(const std::vector<ScoredGroup>& groups, const std::vector<std::uint8_t>& kept) {
  std::string out;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    if (kept[i]) append_record(out, to_bytes(groups[i]));
  }
  return out;
}

std::vector<ScoredGroup> unpack(const TensorView& tensor) {
  std::vector<ScoredGroup> groups;
  std::string_view bytes(reinterpret_cast<const char*>(tensor.data), tensor.bytes());
  while (!bytes.empty()) groups.push_back(scored_group_from_bytes(take_record(bytes)));
  return groups;
}

}  // namespace

Digest Trainer::journal_fingerprint() const {
  Hasher h;
  h.update_field(options_.config_digest);
  h.update_field(options_.device);
  const WeightDigest weights = parts_.learner->digest();
  h.update(weights.data(), weights.size());
  h.update_field(message(options_.seed, " ", state_.rollout, " ", state_.cursor, " ", options_.samples_per_prompt));
  return h.digest();
}

WeightSnapshot Trainer::save_state(CheckpointState& s) {
  journal_.sync();
  s.version = parts_.learner->version();
  s.data_cursor = state_.cursor;
  s.rollout = state_.rollout;
  s.plan = message("tokens_per_micro_batch=", parts_.learner->options().tokens_per_micro_batch);
  save_lanes(s);
  s.extra["next_update"] = std::to_string(state_.in_rollout ? parts_.learner->next_update() : 0);
  s.extra["tokens_per_micro_batch"] = std::to_string(parts_.learner->options().tokens_per_micro_batch);
  WeightSnapshot optimizer = parts_.learner->state();
  packed_groups_ = state_.in_rollout ? pack(groups_, kept_) : std::string();
  if (state_.in_rollout)
    optimizer.tensors.push_back({kGroups,
                                 DType::kU8,
                                 {static_cast<std::int64_t>(packed_groups_.size())},
                                 reinterpret_cast<const std::byte*>(packed_groups_.data()),
                                 -1});
  return optimizer;
}

void Trainer::restore_state(const SavedRun& saved) {
  const CheckpointState& s = saved.state;
  state_.rollout = s.rollout;
  state_.cursor = s.data_cursor;
  const auto next_update = static_cast<int>(number(s, "next_update"));
  state_.in_rollout = next_update > 0;
  // The plan decides the order of sums: the bits follow the run that was begun, whatever this start would choose.
  parts_.learner->set_tokens_per_micro_batch(number(s, "tokens_per_micro_batch"));
  restore_lanes(s);

  std::vector<TrainSample> samples;
  if (state_.in_rollout) {
    const TensorView* groups = nullptr;
    for (const TensorView& t : saved.optimizer.tensors)
      if (t.name == kGroups) groups = &t;
    if (!groups)
      throw CheckpointError(message("update ", next_update, " of a rollout was next, but the state lacks ", kGroups));
    groups_ = unpack(*groups);
    kept_.assign(groups_.size(), 1);
    samples = train_set().samples;
  }
  parts_.learner->restore(saved.optimizer, static_cast<std::int64_t>(s.version), state_.rollout, next_update,
                          std::move(samples));
  published_.reset();
}

}  // namespace r1
