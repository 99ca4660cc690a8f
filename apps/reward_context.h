// The rewards that the program knows beside the built-in ones: users' own.
#pragma once

#include "rewards/factory.h"

namespace r1 {

RewardContext reward_context();

// One of a comma-separated --rewards list as an entry of a recipe: "math", or KEY:VALUE with a key of users' rewards,
// "python:my_rewards.py:brevity".
std::string reward_entry_yaml(const std::string& text, const RewardContext& context);

}  // namespace r1
