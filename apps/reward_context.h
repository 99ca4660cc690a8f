// The rewards that the program knows beside the built-in ones: users' own.
#pragma once

#include <string>
#include <vector>

#include "core/config.h"
#include "rewards/factory.h"

namespace r1 {

RewardContext reward_context();

// What a command was told to score with: a recipe file, or the items of --rewards (none: math) as one.
Config rewards_config(const std::string& recipe, const std::vector<std::string>& rewards, const RewardContext& context);

// One of a comma-separated --rewards list as an entry of a recipe: "math", or KEY:VALUE with a key of users' rewards,
// "python:my_rewards.py:brevity", or a URL "grpc://host:port/name".
std::string reward_entry_yaml(const std::string& text, const RewardContext& context);

}  // namespace r1
