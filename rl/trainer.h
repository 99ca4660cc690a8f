// The GRPO loop: prompts -> rollout -> rewards -> advantages -> updates -> weights, with metrics, evaluation,
// checkpoints, journal and exact resume.
//
// What resume promises: a run that was killed at any moment and started again ends with the weights, bit for bit, of a
// run that was not (same recipe, same machine), and samples no completion again that had ended.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rl/checkpoint_store.h"
#include "rl/evaluator.h"
#include "rl/group_sampler.h"
#include "rl/learner.h"
#include "rl/prompt_stream.h"
#include "rl/train_samples.h"

namespace r1 {

// DAPO's dynamic sampling: sample on until prompts_per_rollout groups can teach something (keeps_group()).
struct DynamicSamplingOptions {
  bool enabled = false;
  int max_rounds = 10;       // then the rollout is trained on what was kept
  double oversample = 1.0;   // prompts of a round per group still wanted
};

struct TrainerOptions {
  std::int64_t steps = 100;        // policy updates of the whole run
  int prompts_per_rollout = 32;
  int samples_per_prompt = 16;
  SamplingOptions sampling;
  TrainSampleOptions train_samples;
  DynamicSamplingOptions dynamic;
  std::int64_t save_every = 50;    // updates; 0 = at the end only
  std::int64_t eval_every = 20;    // updates; 0 = never
  bool eval_at_start = true;
  EvalOptions eval;
  std::uint64_t seed = 0;
  int reward_threads = 1;
  std::string device;              // what computes: completions of another one are not gone on with
  std::string config_digest;       // of what decides the numbers: part of the journal's fingerprint and of checkpoints
};

// One policy update, as observers see it.
struct StepRecord {
  std::int64_t step = 0;           // 1 for the first
  std::uint64_t rollout = 0;
  std::map<std::string, double> metrics;
  // The rollout behind it, at its first update only (else empty); valid during the call. kept [groups]: 0 = dropped by
  // dynamic sampling (empty = none was). `samples` are those of the kept groups, in order, as trained.
  std::span<const ScoredGroup> groups;
  std::span<const std::uint8_t> kept;
  std::span<const TrainSample> samples;
};

// Every function may throw (disk full); the run then ends. Called on the trainer's thread. Defaults do nothing.
class TrainObserver {
 public:
  virtual ~TrainObserver() = default;
  virtual void on_rollout_start(std::uint64_t rollout, std::int64_t step) {}
  virtual void on_rollout_progress(const RolloutProgress&) {}
  virtual void add_metrics(StepRecord&) {}  // before any on_step: numbers of the observer's own for record.metrics
  virtual void on_step(const StepRecord&) {}
  // The reference became the policy: an outer pass of iterative GRPO (arXiv:2402.03300 section 4.1.4) is over, a reward model may be
  // trained on. After on_step; the learner's weights are those of this step.
  virtual void on_reference_refreshed(std::int64_t step) {}
  virtual void on_evaluation(std::int64_t step, const EvalReport&) {}
  virtual void on_checkpoint(std::int64_t step, const std::filesystem::path&) {}
  virtual void on_message(const std::string&) {}  // for people: a batch without a mixed group, a resumed rollout
};

class Trainer {
 public:
  // All outlive the trainer. `checkpoints` and `eval_prompts` may be empty, `journal` an empty path.
  struct Parts {
    GrpoLearner* learner = nullptr;
    RolloutEngine* engine = nullptr;
    const PromptStream* prompts = nullptr;
    Scorer scorer;
    std::vector<Prompt> eval_prompts;
    Scorer eval_scorer;                      // empty = scorer
    CheckpointStore* checkpoints = nullptr;
    std::filesystem::path journal;
    std::function<double()> peak_gb;         // metric memory/peak_gb; empty = of this process
    std::vector<TrainObserver*> observers;
  };
  // Throws ConfigError for options that contradict each other.
  Trainer(Parts parts, TrainerOptions options);

  // Goes on from the newest checkpoint if there is one; gives its step. Throws CheckpointError if it is of another
  // configuration or does not fit the model. Call it before run(), and observers' files after it.
  std::optional<std::int64_t> resume();
  void add_observer(TrainObserver* observer) { parts_.observers.push_back(observer); }
  // To the last step. A stop request (core/signals.h) saves and throws Interrupted.
  void run();
  std::int64_t step() const { return state_.step; }

 private:
  // Everything a checkpoint holds of the loop itself.
  struct State {
    std::int64_t step = 0;           // updates done, those without a trained token included
    std::uint64_t rollout = 0;       // in progress if in_rollout, else the next
    bool in_rollout = false;
    std::uint64_t cursor = 0;        // prompts taken from the source
    std::int64_t num_tokens = 0;
  };
  void loop();
  void collect_rollout();
  void sample_groups();
  void one_update();
  bool evaluation_due() const;
  void run_evaluation();
  void publish();
  void save();
  Digest journal_fingerprint() const;
  void tell(const std::string& text);

  Parts parts_;
  TrainerOptions options_;
  RolloutJournal journal_;
  GroupSampler sampler_;
  State state_;
  std::vector<ScoredGroup> groups_;  // of the rollout in progress; a checkpoint inside it holds the kept ones
  std::vector<std::uint8_t> kept_;                 // [groups] 0 = dropped by dynamic sampling
  std::map<std::string, double> rollout_metrics_;  // until its first update is reported
  std::optional<WeightVersion> published_;
  std::optional<std::int64_t> saved_step_;
  std::optional<std::int64_t> evaluated_step_;
};

}  // namespace r1
