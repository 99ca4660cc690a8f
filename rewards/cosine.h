// The reward `cosine`: a right answer earns more if it is short, a wrong one loses less if it is long (Yeo et al.,
// arXiv 2502.03373). Differences from open-r1's: length is in tokens, beyond max_len the value stays where it is (a bare
// cosine would rise again), a gold answer that cannot be read abstains instead of paying 1, and a wrong answer that ran
// into the token limit does not count as patient thinking.
#pragma once

#include <cstdint>
#include <memory>

#include "core/config.h"
#include "rewards/reward.h"

namespace r1 {

// `at_zero` at length 0, `at_max` from max_len on, half a cosine between: flat at both ends, monotone.
float cosine_scaled(std::int64_t length, std::int64_t max_len, float at_zero, float at_max);

// Options: judge (math: a reward that judges answers), judge_options (its options), max_len (default: the rollout's
// max_new_tokens), min_value_wrong (-1, length 0), max_value_wrong (-0.5, at max_len), min_value_correct
// (0.5, at max_len), max_value_correct (1, length 0), truncated_wrong (default min_value_wrong): for a wrong answer that
// the token limit cut off. Its verdict is the judge's.
std::unique_ptr<RewardFunction> make_cosine_reward(ConfigReader& options, std::int64_t max_new_tokens);

}  // namespace r1
