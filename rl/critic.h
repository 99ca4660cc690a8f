// PPO's critic: values of the states before each trained token, advantages from them, and the critic's own updates.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/types.h"
#include "rl/optimizer.h"
#include "rl/packing.h"
#include "rl/per_sample.h"
#include "rl/ranks.h"
#include "rl/value_model.h"

namespace r1 {

struct CriticOptions {
  OptimizerOptions optimizer;
  double gamma = 1, lambda = 1;  // of the advantages (rl/gae.h); for long answers lambda 0.95 was found worse than 1
  double value_clip = 0.2;       // 0 = no clipping
  std::int64_t warmup = 0;       // updates at the start in which the critic learns and the policy does not
};

// Not thread-safe. The model outlives it.
class Critic {
 public:
  // `ranks`: as GrpoLearner's; outlives it, null = one process.
  Critic(ValueModel& model, const CriticOptions& options, const Ranks* ranks = nullptr)
      : model_(model), options_(options), ranks_(ranks), optimizer_(options.optimizer) {}

  // Values of every trained token's state at the start of a rollout, kept for set_advantages() and the clip of the value loss.
  void begin_rollout(std::span<const TrainSample> samples, std::int64_t token_budget);
  // A sample's advantages hold its outcome at each trained token (advantage.kind none or a baseline's); here the outcome becomes
  // the reward of its last trained token, -beta (ln behavior - ln ref) is added to each token's where beta != 0, and the advantages
  // become those of GAE. Returns are kept from before any whitening.
  void set_advantages(std::span<TrainSample> samples, std::span<const std::vector<float>> ref_logprobs, double beta);
  // One step on these samples. Throws NumericError naming samples or tensor; the weights are then as before.
  // Adds critic/loss, grad_norm, learning_rate, clip_ratio, explained_variance, value_mean, return_mean to the metrics.
  void update(std::span<const TrainSample> samples, std::span<const std::int32_t> chosen, std::int64_t token_budget,
              std::map<std::string, double>& metrics);
  bool warming_up() const { return optimizer_.updates() < options_.warmup; }  // the next update is the critic's alone
  std::int64_t updates() const { return optimizer_.updates(); }

  // ---- exact resume ----------------------------------------------------------------------------------------------
  // Appends views under names that start with "critic.". Inside a rollout its values too. Valid until the next call that changes
  // the critic.
  void append_state(WeightSnapshot& out, std::span<const TrainSample> samples, bool inside_rollout) const;
  // Bit for bit; set_advantages() is to be called again for a rollout that goes on.
  void restore(const WeightSnapshot& state, std::int64_t updates, std::span<const TrainSample> samples, bool inside_rollout);

 private:
  const Ranks& ranks() const { return ranks_ ? *ranks_ : one_process_; }
  ValueModel& model_;
  CriticOptions options_;
  Ranks one_process_;
  const Ranks* ranks_;
  Optimizer optimizer_;
  PerSample values_, returns_;
  mutable std::vector<float> packed_values_;
};

}  // namespace r1
