// Rewards that measure the completion's length: `overlong` (DAPO; also as TRL's `soft_overlong`), `length`. They give no verdict.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "core/config.h"
#include "rewards/reward.h"

namespace r1 {

// Soft overlong punishment of DAPO (arXiv 2503.14476, section 3.4), in tokens: 0 up to max - cache, then falling
// linearly to -1 at max, -1 beyond. cache 0: 0 up to max, -1 beyond.
float soft_overlong(std::int64_t tokens, std::int64_t max_tokens, std::int64_t cache_tokens);

// Options: max_tokens (default: the rollout's max_new_tokens), cache_tokens (default: a fifth of it, at least 1).
std::unique_ptr<RewardFunction> make_overlong_reward(ConfigReader& options, std::int64_t max_new_tokens);

// The same under the option names of TRL's get_soft_overlong_punishment(), for recipes that come from there:
// max_completion_len, soft_punish_cache (smaller than max_completion_len; 0 = nothing up to max_completion_len, -1 beyond).
// `name` is soft_overlong, or soft_overlong_punishment as open-r1's registry has it.
std::unique_ptr<RewardFunction> make_soft_overlong_reward(std::string_view name, ConfigReader& options, std::int64_t max_new_tokens);

// 1 from `min` to `max`, falling linearly to 0 over `margin` units outside (0 = at once). Options: unit (tokens, words,
// characters), min (0), max (required), margin (0). mode: relative is relative_length.h instead.
std::unique_ptr<RewardFunction> make_length_reward(ConfigReader& options, std::int64_t max_new_tokens);

}  // namespace r1
