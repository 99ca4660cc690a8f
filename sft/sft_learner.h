// Cross entropy on the trained tokens of a batch of examples: the mean over all of them, whatever the micro-batches.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "rl/learner.h"
#include "rl/optimizer.h"
#include "rl/policy.h"
#include "sft/examples.h"

namespace r1 {

struct SftOptions {
  OptimizerOptions optimizer;
  std::int64_t tokens_per_micro_batch = 8192;  // rows; memory only, the gradient is the same up to rounding
  RouterOptions router;       // balance_loss and bias_update; there is nothing to replay
  double prediction_loss = 0;  // factor of the multi-token prediction loss, the mean over trained tokens
};

// Not thread-safe. The policy outlives it.
class SftLearner {
 public:
  SftLearner(PolicyModel& policy, const SftOptions& options) : policy_(policy), options_(options), optimizer_(options.optimizer) {}

  // One update. Metrics as TRL's SFTTrainer names them: loss, entropy (nats a trained token), mean_token_accuracy (share of trained
  // tokens that are the likeliest; where the device says which), grad_norm, learning_rate; and train/.... Throws NumericError naming
  // tensor and examples; the weights are then as before. Out of GPU memory: as GrpoLearner::update().
  StepReport update(std::span<const SftExample* const> batch);
  // eval/loss, eval/entropy, eval/mean_token_accuracy, eval/num_tokens over all of them; nothing changes.
  // Throws Interrupted after a stop was requested.
  std::map<std::string, double> evaluate(std::span<const SftExample* const> examples);

  WeightVersion version() const { return static_cast<WeightVersion>(optimizer_.updates()); }
  WeightSnapshot publish() const { return policy_.weights(version()); }
  WeightSnapshot weights_to_save() const { return policy_.host_weights(version()); }
  WeightDigest digest() const { return policy_.digest(); }
  const SftOptions& options() const { return options_; }
  void set_tokens_per_micro_batch(std::int64_t rows) { options_.tokens_per_micro_batch = rows; }

  // Exact resume: views, valid until the next update.
  WeightSnapshot state() const;
  void restore(const WeightSnapshot& state, std::int64_t updates);

 private:
  struct Sums;
  Sums pass(std::span<const SftExample* const> batch, std::span<const std::int32_t> part, double denominator, bool train);
  MicroBatchPlan plan(std::span<const SftExample* const> batch) const;
  template <class Work> auto retried(std::span<const SftExample* const> batch, Work&& work) -> decltype(work());
  StepReport update_once(std::span<const SftExample* const> batch);
  [[noreturn]] void blame_gradient(std::span<const SftExample* const> batch, const MicroBatchPlan& plan, double denominator);

  PolicyModel& policy_;
  SftOptions options_;
  Optimizer optimizer_;
};

}  // namespace r1
