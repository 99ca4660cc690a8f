// On-policy distillation: the teacher's opinion of each sampled token as its advantage, A_t = ln teacher - ln student (the sampler's), no
// reward, discount 0; the ordinary policy gradient does the rest. Its expectation is the gradient of the per-state reverse divergence.
#pragma once

#include <functional>
#include <vector>

#include "rl/policy.h"
#include "rl/ranks.h"
#include "rl/train_observer.h"

namespace r1 {

// For Trainer::Parts::token_advantages. `temperature` is the rollout's. The teacher outlives it, as do the ranks, each of which asks it for
// its share of the samples; null = one process.
std::function<void(std::vector<TrainSample>&)> teacher_advantages(ScoringModel& teacher, float temperature, std::int64_t tokens_per_micro_batch,
                                                                  const Ranks* ranks = nullptr);

// Metric distill/reverse_kl: the mean over the rollout's trained tokens of ln student - ln teacher, an estimate of KL(student || teacher)
// on the student's texts; nats a token.
class ReverseKlObserver : public TrainObserver {
 public:
  void add_metrics(StepRecord& record) override;
};

}  // namespace r1
