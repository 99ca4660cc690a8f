// `length` with mode: relative. The length reward of Kimi k1.5 (arXiv 2501.12599, 2.3.3), open-r1's `length`: among the
// completions of one prompt the shorter ones earn more, wrong ones never above 0. Differences from open-r1's: lengths are
// tokens, not characters; they are compared within the prompt's group, not over the whole batch; where the judge cannot
// say (unreadable gold, timeout) the reward abstains instead of taking the answer for right.
#pragma once

#include <cstdint>
#include <memory>

#include "core/config.h"
#include "rewards/reward.h"

namespace r1 {

// 0.5 - (length - shortest) / (longest - shortest), at most 0 for a wrong answer; 0 where all are equally long.
float relative_length(std::int64_t length, std::int64_t shortest, std::int64_t longest, bool correct);

// Options: judge (math), judge_options. Its verdict is the judge's.
std::unique_ptr<RewardFunction> make_relative_length_reward(ConfigReader& options, std::int64_t max_new_tokens);

}  // namespace r1
