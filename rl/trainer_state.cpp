// Saving and resuming the training loop.
#include <memory>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/serialize.h"
#include "core/signals.h"
#include "rl/trainer.h"

namespace r1 {
namespace {

using Json = nlohmann::json;

constexpr const char* kGroups = "rollout.groups";  // scored groups of the rollout in progress, each with a u64 length
constexpr const char* kReady = "ready";            // extra: rollouts that wait for the learner; their groups are tensors beside

std::string ready_name(std::uint64_t rollout) { return message("ready.", rollout, ".groups"); }

// `kept` empty: all of them.
std::string pack(const std::vector<ScoredGroup>& groups, const std::vector<std::uint8_t>& kept) {
  std::string out;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    if (!kept.empty() && !kept[i]) continue;
    append_record(out, to_bytes(groups[i]));
  }
  return out;
}

std::vector<ScoredGroup> unpack(const TensorView& tensor) {
  std::vector<ScoredGroup> groups;
  std::string_view bytes(reinterpret_cast<const char*>(tensor.data), tensor.bytes());
  while (!bytes.empty()) groups.push_back(scored_group_from_bytes(take_record(bytes)));
  return groups;
}

TensorView bytes_view(std::string name, const std::string& bytes) {
  return {std::move(name), DType::kU8, {static_cast<std::int64_t>(bytes.size())}, reinterpret_cast<const std::byte*>(bytes.data()), -1};
}

const TensorView& find(const WeightSnapshot& state, const std::string& name) {
  for (const TensorView& t : state.tensors)
    if (t.name == name) return t;
  throw CheckpointError(message("the state lacks ", name));
}

Json to_json(const CollectedRollout& r) {
  return {{"rollout", r.number}, {"cursor", r.cursor}, {"step", r.weights.step}, {"version", r.weights.version}, {"kept", r.kept},
          {"metrics", r.metrics}, {"messages", r.messages}};
}

CollectedRollout collected(const Json& j, const WeightSnapshot& state) {
  CollectedRollout r;
  r.number = j.at("rollout"), r.cursor = j.at("cursor");
  r.weights.step = j.at("step"), r.weights.version = j.at("version");
  r.kept = j.at("kept").get<std::vector<std::uint8_t>>();
  r.metrics = j.at("metrics").get<std::map<std::string, double>>();
  r.messages = j.at("messages").get<std::vector<std::string>>();
  r.groups = unpack(find(state, ready_name(r.number)));
  if (r.kept.size() != r.groups.size()) throw CheckpointError(message(ready_name(r.number), " holds ", r.groups.size(), " groups of ", r.kept.size()));
  return r;
}

}  // namespace

WeightSnapshot Trainer::save_state(CheckpointState& s) {
  if (rollouts_ && stop_requested()) tell("stopping: the rollout in progress is finished first, since the weights that sample it are not saved");
  const std::deque<CollectedRollout>& ready = rollouts_ ? rollouts_->at_rest() : ready_;
  collector_.journal().sync();
  s.version = parts_.learner->version();
  s.data_cursor = state_.cursor;
  s.rollout = state_.rollout;
  s.plan = message("tokens_per_micro_batch=", parts_.learner->options().tokens_per_micro_batch);
  save_lanes(s);
  s.extra["next_update"] = std::to_string(state_.in_rollout ? parts_.learner->next_update() : 0);
  s.extra["tokens_per_micro_batch"] = std::to_string(parts_.learner->options().tokens_per_micro_batch);
  WeightSnapshot optimizer = parts_.learner->state();
  packed_groups_ = state_.in_rollout ? pack(groups_, kept_) : std::string();
  if (state_.in_rollout) optimizer.tensors.push_back(bytes_view(kGroups, packed_groups_));
  packed_ready_.clear();
  Json list = Json::array();
  for (const CollectedRollout& r : ready) {
    packed_ready_.push_back(pack(r.groups, {}));
    optimizer.tensors.push_back(bytes_view(ready_name(r.number), packed_ready_.back()));
    list.push_back(to_json(r));
  }
  if (overlaps()) s.extra[kReady] = list.dump();
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
    groups_ = unpack(with_context(message("update ", next_update, " of a rollout was next"), [&] { return find(saved.optimizer, kGroups); }));
    kept_.assign(groups_.size(), 1);
    samples = train_set().samples;
  }
  parts_.learner->restore(saved.optimizer, static_cast<std::int64_t>(s.version), state_.rollout, next_update,
                          std::move(samples));
  published_.reset();
  ready_.clear();
  if (const auto found = s.extra.find(kReady); found != s.extra.end() && overlaps()) {
    try {
      for (const Json& j : Json::parse(found->second)) ready_.push_back(collected(j, saved.optimizer));
    } catch (const Json::exception& e) {
      throw CheckpointError(message("state.json: \"", kReady, "\" cannot be read: ", e.what()));
    }
  }
}

}  // namespace r1
