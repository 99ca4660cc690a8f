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
#include <string>
#include <vector>

#include "rl/evaluator.h"
#include "rl/group_sampler.h"
#include "rl/learner.h"
#include "rl/prompt_stream.h"
#include "rl/train_loop.h"
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

class Trainer : public TrainLoop {
 public:
  // All outlive the trainer. `checkpoints` and `eval_prompts` may be empty, `journal` an empty path.
  struct Parts {
    GrpoLearner* learner = nullptr;
    RolloutEngine* engine = nullptr;
    const PromptStream* prompts = nullptr;
    Scorer scorer;
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
  void saved() override { journal_.drop_before(state_.rollout); }
  void collect_rollout();
  void sample_groups();
  // One scored group an item, in order: this rank's share sampled, the others' received.
  std::vector<ScoredGroup> sample(std::vector<GroupSampler::Item> items, RolloutJournal::Contents& known);
  TrainSet train_set() const;
  void one_update();
  void publish();
  Digest journal_fingerprint() const;

  Parts parts_;
  TrainerOptions options_;
  RolloutJournal journal_;
  GroupSampler sampler_;
  State state_;
  std::vector<ScoredGroup> groups_;  // of the rollout in progress; a checkpoint inside it holds the kept ones
  std::vector<std::uint8_t> kept_;                 // [groups] 0 = dropped by dynamic sampling
  std::map<std::string, double> rollout_metrics_;  // until its first update is reported
  std::optional<WeightVersion> published_;
  std::string packed_groups_;                      // what save_state() views
};

}  // namespace r1
