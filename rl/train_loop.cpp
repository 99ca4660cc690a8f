#include "rl/train_loop.h"

#include <charconv>
#include <utility>

#include "core/error.h"
#include "core/signals.h"

namespace r1 {

TrainLoop::TrainLoop(std::string stage, LoopOptions options, CheckpointStore* checkpoints, std::vector<TrainObserver*> observers, Ranks* ranks)
    : observers_(std::move(observers)),
      stage_(std::move(stage)),
      loop_(std::move(options)),
      checkpoints_(checkpoints),
      one_process_(ranks ? nullptr : std::make_unique<Ranks>()),
      ranks_(ranks ? ranks : one_process_.get()) {}

void TrainLoop::run() {
  if (!ranks().alone()) check_equal_start();
  try {
    loop();
    if (saved_step_ != step_) save();
  } catch (const Interrupted&) {
    if (saved_step_ != step_) save();
    throw;
  }
}

void TrainLoop::loop() {
  while (true) {
    // Evaluation first: so a checkpoint of this step says that it is done.
    if (evaluation_due()) {
      ranks().phase(message("evaluation after step ", step_));
      evaluate();
      evaluated_step_ = step_;
    }
    if (loop_.save_every > 0 && step_ > 0 && step_ % loop_.save_every == 0 && saved_step_ != step_) save();
    if (step_ >= loop_.steps) return;
    ranks().throw_if_stopped();
    ranks().phase(message("step ", step_ + 1));
    advance();
  }
}

bool TrainLoop::evaluation_due() const {
  if (!has_evaluation() || evaluated_step_ == step_) return false;
  if (step_ == 0) return loop_.eval_at_start;
  return loop_.eval_every > 0 && (step_ % loop_.eval_every == 0 || step_ == loop_.steps);
}

void TrainLoop::tell(const std::string& text) {
  for (TrainObserver* o : observers_) o->on_message(text);
}

std::int64_t TrainLoop::number(const CheckpointState& state, const std::string& key) const {
  const auto found = state.extra.find(key);
  std::int64_t value = 0;
  if (found == state.extra.end() ||
      std::from_chars(found->second.data(), found->second.data() + found->second.size(), value).ec != std::errc{})
    throw CheckpointError(message("state.json lacks the number \"", key, "\": the checkpoint is not one of a run of stage ", stage_));
  return value;
}

void TrainLoop::check_equal_start() const {
  const std::vector<std::string> all = ranks().gather(message(loop_.config_digest, " ", loop_.seed, " ", step_, " ", ranks().lanes()), "the recipes' digests");
  for (std::size_t r = 1; r < all.size(); ++r)
    if (all[r] != all[0]) throw ConfigError(message("rank ", r, " was started with another recipe, seed or data than rank 0; give all ranks the same command"));
  check_equal_weights();
}

void TrainLoop::check_equal_weights() const {
  const std::vector<std::string> all = ranks().gather(to_hex(weights_digest()), "the weights' digests");
  for (std::size_t r = 1; r < all.size(); ++r)
    if (all[r] != all[0])
      throw Error(message("after step ", step_, " the weights of rank ", r, " differ from rank 0's (digests ", all[r], " and ", all[0],
                          "): the ranks' processors or programs are not the same; train on equal machines"));
}

void TrainLoop::save_lanes(CheckpointState& state) const {
  state.extra["lanes"] = std::to_string(ranks().lanes());
  if (ranks().lanes() > 1) state.plan += message(" lanes=", ranks().lanes());
}

void TrainLoop::restore_lanes(const CheckpointState& state) {
  if (!state.extra.contains("lanes")) return;  // of one process
  const auto lanes = static_cast<int>(number(state, "lanes"));
  if (lanes >= ranks().groups()) return ranks().set_lanes(lanes);
  tell(message("the run was begun with ", lanes, " lanes; with ", ranks().groups(), ranks().groups() < ranks().world() ? " groups of ranks" : " ranks", " its sums have another order from here on"));
}

void TrainLoop::save() {
  if (!checkpoints_) return;
  ranks().phase(message("checkpoint of step ", step_));
  check_equal_weights();
  CheckpointState s;
  s.stage = stage_;
  s.step = static_cast<std::uint64_t>(step_);
  s.seed = loop_.seed;
  s.config_digest = loop_.config_digest;
  s.extra["evaluated_step"] = std::to_string(evaluated_step_.value_or(-1));
  s.extra["num_tokens"] = std::to_string(num_tokens_);
  const WeightSnapshot optimizer = save_state(s);
  s.extra["weights_digest"] = to_hex(weights_digest());
  const std::filesystem::path path = checkpoints_->save(s, weights_to_save(), optimizer);
  saved_step_ = step_;
  saved();
  if (path.empty()) return;  // rank 0 wrote it
  for (TrainObserver* o : observers_) o->on_checkpoint(step_, path);
}

std::optional<std::int64_t> TrainLoop::resume() {
  if (!checkpoints_) return std::nullopt;
  const std::optional<SavedRun> found = checkpoints_->newest();
  if (!found) return std::nullopt;
  const CheckpointState& s = found->state;
  if (s.stage != stage_) throw CheckpointError(message("the checkpoint is of stage ", s.stage, ", this is ", stage_));
  if (s.config_digest != loop_.config_digest || s.seed != loop_.seed)
    throw CheckpointError(
        "the checkpoint is of another configuration; use another output folder, or the recipe it was made with");
  step_ = static_cast<std::int64_t>(s.step);
  num_tokens_ = number(s, "num_tokens");
  restore_state(*found);
  const auto digest = s.extra.find("weights_digest");
  if (digest == s.extra.end() || digest->second != to_hex(weights_digest()))
    throw CheckpointError(
        "the restored weights are not those that were saved (their digests differ): was model.dtype changed?");
  saved_step_ = step_;
  evaluated_step_ = number(s, "evaluated_step");
  return step_;
}

}  // namespace r1
