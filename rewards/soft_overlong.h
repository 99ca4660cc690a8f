// The reward `soft_overlong`: the same punishment as `overlong` (length.h) under the option names of TRL's
// get_soft_overlong_punishment(), for recipes that come from there.
#pragma once

#include <cstdint>
#include <memory>

#include "core/config.h"
#include "rewards/reward.h"

namespace r1 {

// Options: max_completion_len (default: the rollout's max_new_tokens), soft_punish_cache (default: a fifth of it, at
// least 1; smaller than max_completion_len). 0 up to max_completion_len - soft_punish_cache tokens, then linearly to -1.
std::unique_ptr<RewardFunction> make_soft_overlong_reward(ConfigReader& options, std::int64_t max_new_tokens);

}  // namespace r1
