// Training on examples that are there before the run (texts, pairs of answers, a teacher's texts): shuffled epochs, updates of so many
// examples, micro-batches, metrics, held-out numbers, an evaluation by sampling, checkpoints and exact resume. What an example is and what
// its loss is, an objective says.
//
// What resume promises: a run that was killed and started again ends with the weights, bit for bit, of a run that was not.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rl/optimizer.h"
#include "rl/packing.h"
#include "rl/policy.h"
#include "rl/scorer.h"
#include "rl/train_loop.h"
#include "rollout/engine.h"
#include "sft/example_stream.h"

namespace r1 {

using Metrics = std::map<std::string, double>;

// A loss over examples and the model that it trains. Not thread-safe.
class ExampleObjective {
 public:
  virtual ~ExampleObjective() = default;
  virtual std::int64_t size() const = 0;  // examples
  virtual TrainedModel& model() = 0;
  virtual WeightSnapshot weights_to_save(WeightVersion version) const = 0;  // on the host

  // One update: begin, then train() for parts that cover it, then report(). begin_update() gives the rows that each example takes in a
  // micro-batch [n]; `update` counts from 0. It may be called again with the same values: then anew.
  virtual std::vector<std::int64_t> begin_update(std::int64_t update, std::span<const std::int64_t> examples) = 0;
  // Forward and backward of one micro-batch, given by places in the update: adds to the gradient. Throws NumericError naming the example.
  virtual void train(std::span<const std::int32_t> places) = 0;
  virtual Metrics report() = 0;  // of the update since begin_update(): loss and the objective's own
  // Several lanes (rl/ranks.h): take_sums() gives the sums that report() is made of, as bytes, and clears them; add_sums() adds those of a
  // lane.
  virtual std::string take_sums() = 0;
  virtual void add_sums(std::string_view bytes) = 0;
  virtual std::string name(std::int64_t example) const = 0;  // for errors

  // Held-out numbers, eval/...; empty where there is nothing held out. Throws Interrupted after a stop was requested.
  virtual bool has_evaluation() const = 0;
  virtual Metrics evaluate(std::int64_t tokens_per_micro_batch) = 0;
};

struct ExampleTrainerOptions {
  LoopOptions loop;                  // steps: from updates_for()
  OptimizerOptions optimizer;
  std::int64_t examples_per_update = 1;
  double epochs = 1;                 // the last update may have fewer examples
  bool shuffle = true;
  std::vector<MixturePart> parts;    // of the objective's examples; empty = one part
  std::int64_t tokens_per_micro_batch = 8192;  // rows; memory and the order of sums
  EvalOptions eval;                  // of the evaluation by sampling
};

// Updates for so many passes through the data.
std::int64_t updates_for(double epochs, std::int64_t epoch_size, std::int64_t examples_per_update);
// Updates, warm-up and the schedule's end, once the number of examples of an epoch is known. `steps`: in place of options.epochs.
// `warmup_ratio`: share of the updates, 0 = the warm-up that is set. Throws ConfigError, naming `section`, for a warm-up that is longer
// than the run.
void plan_updates(ExampleTrainerOptions& options, std::optional<std::int64_t> steps, double warmup_ratio, std::int64_t epoch_size,
                  const std::string& section);

class ExampleTrainer : public TrainLoop {
 public:
  struct Parts {
    ExampleObjective* objective = nullptr;
    CheckpointStore* checkpoints = nullptr;  // may be null
    std::vector<TrainObserver*> observers = {};
    std::function<double()> peak_gb = {};    // metric memory/peak_gb; empty = none
    Ranks* ranks = nullptr;                  // of a run on several, to which the objective's model was joined; null = one process
    // The evaluation by sampling: what `engine` draws with the weights of `policy`, judged by `scorer`. No prompts = none.
    RolloutEngine* engine = nullptr;
    const ScoringModel* policy = nullptr;
    std::vector<Prompt> eval_prompts = {};
    Scorer scorer = {};
  };
  // All outlive the trainer. `stage` names the kind in checkpoints.
  ExampleTrainer(std::string stage, Parts parts, const ExampleTrainerOptions& options);

 private:
  bool has_evaluation() const override { return parts_.objective->has_evaluation() || !parts_.eval_prompts.empty(); }
  void evaluate() override;
  void advance() override;
  WeightSnapshot save_state(CheckpointState& state) override;
  WeightSnapshot weights_to_save() const override { return parts_.objective->weights_to_save(version()); }
  WeightDigest weights_digest() const override { return parts_.objective->model().digest(); }
  void restore_state(const SavedRun& saved) override;
  std::size_t gradient_of(std::span<const std::int64_t> examples);  // the number of micro-batches, over all lanes
  std::vector<MicroBatchPlan> lane_plans(std::span<const std::int64_t> rows) const;
  void tell_smaller(std::int64_t budget_before);  // where the micro-batches had to become smaller
  WeightVersion version() const { return static_cast<WeightVersion>(optimizer_.updates()); }
  [[noreturn]] void blame(std::span<const std::int64_t> examples);

  Parts parts_;
  ExampleTrainerOptions options_;
  Optimizer optimizer_;
  ExampleStream order_;
  std::int64_t total_;         // examples of the run
  std::int64_t cursor_ = 0;    // examples shown
  std::int64_t rows_ = 0;      // of the update in progress
};

}  // namespace r1
