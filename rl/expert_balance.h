// What an update of a mixture of experts does beside its gradient: how evenly the experts were loaded, and the correction biases.
#pragma once

#include <map>
#include <string>

#include "rl/policy.h"
#include "rl/ranks.h"

namespace r1 {

// Mixtures of experts. All off: what balanced the experts in pretraining would pull an RL run away from its reward.
struct RouterOptions {
  bool replay = false;       // the learner's tokens meet the experts that they met in the rollout
  double balance_loss = 0;   // coefficient of the balance loss: mean over the update's answers, summed over layers
  double bias_update = 0;    // speed of the correction biases' moves after each update (deepseek_v3)
};

// After the passes and the step of an update, on all ranks: their loads are added, the correction biases move by `bias_speed` against it.
// Metrics moe/load_max_over_mean, moe/dropped, moe/balance_loss (of this rank); none for a dense model. Throws ConfigError for a speed
// where there is no bias to move.
void finish_experts(PolicyModel& policy, double bias_speed, const Ranks& ranks, std::map<std::string, double>& metrics);

}  // namespace r1
