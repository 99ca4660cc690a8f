// The GRPO loop: prompts -> rollout -> rewards -> advantages -> updates -> weights, with metrics, evaluation,
// checkpoints, journal and exact resume.
//
// With async.max_staleness above 0 the rollout runs in a thread of its own beside the updates (rl/rollout_thread.h,
// docs/asynchronous.md); with 0 the two take turns on this thread.
//
// What resume promises: a run that was killed at any moment and started again ends with the weights, bit for bit, of a
// run that was not (same recipe, same machine), and samples no completion again that had ended. Free running is the exception.
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rl/evaluator.h"
#include "rl/learner.h"
#include "rl/prompt_stream.h"
#include "rl/rollout_collector.h"
#include "rl/rollout_thread.h"
#include "rl/train_loop.h"
#include "rl/train_samples.h"
#include "rl/trainer_options.h"

namespace r1 {

class Trainer : public TrainLoop {
 public:
  // All outlive the trainer. `checkpoints` and `eval_prompts` may be empty, `journal` an empty path.
  struct Parts {
    GrpoLearner* learner = nullptr;
    RolloutEngine* engine = nullptr;           // with async.max_staleness above 0: with weights of its own, and used by nobody else
    const PromptStream* prompts = nullptr;
    Scorer scorer;
    Scorer completion_scorer;                  // Scoring::alone; empty = completions are scored with their group
    std::function<void(const SampleGroup&, std::vector<Score>&)> group_scored;  // Scoring::finish; may be empty
    // May write other advantages, token by token, than those that the scores gave; a pure function of the samples. Empty = none.
    std::function<void(std::vector<TrainSample>&)> token_advantages;
    std::vector<Prompt> eval_prompts;
    Scorer eval_scorer;                      // empty = scorer
    CheckpointStore* checkpoints = nullptr;
    std::filesystem::path journal;
    std::function<double()> peak_gb;         // metric memory/peak_gb; empty = of this process
    std::vector<TrainObserver*> observers;
    Ranks* ranks = nullptr;                  // of a run on several, the learner's; each samples and scores its share of every rollout
  };
  // Throws ConfigError for options that contradict each other.
  Trainer(Parts parts, TrainerOptions options);

 private:
  // Everything a checkpoint holds of the loop itself.
  struct State {
    std::uint64_t rollout = 0;       // in progress if in_rollout, else the next
    bool in_rollout = false;
    std::uint64_t cursor = 0;        // prompts taken from the source
  };
  bool has_evaluation() const override { return !parts_.eval_prompts.empty(); }
  void evaluate() override;
  void advance() override;
  WeightSnapshot save_state(CheckpointState& state) override;
  WeightSnapshot weights_to_save() const override { return parts_.learner->weights_to_save(); }
  WeightDigest weights_digest() const override { return parts_.learner->digest(); }
  void restore_state(const SavedRun& saved) override;
  void saved() override { collector_.journal().drop_before(state_.rollout); }
  bool overlaps() const { return options_.async.max_staleness > 0; }
  Ranks& join_rollouts();
  void offer_weights();
  void collect_rollout();
  CollectedRollout next_rollout();
  TrainSet train_set() const;
  void one_update();
  void publish();

  Parts parts_;
  TrainerOptions options_;
  std::unique_ptr<Session> rollout_session_;       // with overlaps(), on several ranks: of the rollout's threads
  std::optional<Ranks> rollout_ranks_;
  RolloutCollector collector_;
  State state_;
  std::vector<ScoredGroup> groups_;  // of the rollout in progress; a checkpoint inside it holds the kept ones
  std::vector<std::uint8_t> kept_;                 // [groups] 0 = dropped by dynamic sampling
  std::map<std::string, double> rollout_metrics_;  // until its first update is reported
  std::optional<WeightVersion> published_;         // where rollout and learning take turns
  std::string packed_groups_;                      // what save_state() views
  std::deque<std::string> packed_ready_;
  std::deque<CollectedRollout> ready_;             // of a checkpoint, until the rollout's thread has them
  std::unique_ptr<RolloutThread> rollouts_;        // with overlaps(), from the first update on; the last to be made, the first to go
};

}  // namespace r1
