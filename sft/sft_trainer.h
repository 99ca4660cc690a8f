// The SFT loop: examples in a keyed order -> updates, with held-out loss, optional generative evaluation, checkpoints and exact resume.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "rl/scorer.h"
#include "rl/train_loop.h"
#include "rollout/engine.h"
#include "sft/example_stream.h"
#include "sft/sft_learner.h"

namespace r1 {

struct SftTrainerOptions {
  LoopOptions loop;
  std::int64_t examples_per_update = 64;
  std::int64_t total_examples = 0;  // of the run: the last update may have fewer; 0 = steps x examples_per_update
  EvalOptions eval;                 // of the generative evaluation
};

// Updates for so many passes through the data.
std::int64_t updates_for(double epochs, std::int64_t epoch_size, std::int64_t examples_per_update);

class SftTrainer : public TrainLoop {
 public:
  // All outlive the trainer.
  struct Parts {
    SftLearner* learner = nullptr;
    ExampleStream* stream = nullptr;                // gives indices into `examples`
    const std::vector<SftExample>* examples = nullptr;
    std::vector<SftExample> validation;             // held out: their loss is reported; may be empty
    RolloutEngine* engine = nullptr;                // needed with eval_prompts
    std::vector<Prompt> eval_prompts;               // of the generative evaluation; may be empty
    Scorer scorer;
    CheckpointStore* checkpoints = nullptr;         // may be null
    std::function<double()> peak_gb;                // metric memory/peak_gb; empty = none
    std::vector<TrainObserver*> observers;
    Ranks* ranks = nullptr;                         // of a run on several, the learner's
  };
  SftTrainer(Parts parts, SftTrainerOptions options);

 private:
  bool has_evaluation() const override { return !parts_.validation.empty() || !parts_.eval_prompts.empty(); }
  void evaluate() override;
  void advance() override;
  WeightSnapshot save_state(CheckpointState& state) override;
  WeightSnapshot weights_to_save() const override { return parts_.learner->weights_to_save(); }
  WeightDigest weights_digest() const override { return parts_.learner->digest(); }
  void restore_state(const SavedRun& saved) override;
  std::uint64_t cursor() const;  // examples trained on

  Parts parts_;
  SftTrainerOptions options_;
};

}  // namespace r1
