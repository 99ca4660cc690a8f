// Changes to token advantages that need the reference model: a KL penalty inside the reward, whitening over the batch.
#pragma once

#include <span>
#include <vector>

#include "core/types.h"

namespace r1 {

// Token reward -beta (ln behavior - ln ref), summed from each token to the end (discount 1) and added to the
// advantages: PPO's and REINFORCE++'s place for the KL (k1). ref_logprobs [sample][token].
void add_kl_to_advantages(std::span<TrainSample> samples, std::span<const std::vector<float>> ref_logprobs,
                          double beta);

// (A - mean) / (std + epsilon) over all trained tokens of the rollout, sample std: REINFORCE++, arXiv:2501.03262. Equal
// advantages become 0.
void whiten_advantages(std::span<TrainSample> samples, double epsilon);

}  // namespace r1
