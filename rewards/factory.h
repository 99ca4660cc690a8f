// Rewards by name, and rubrics from a recipe's `rewards:` list.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/config.h"
#include "rewards/judge/chat.h"
#include "rewards/reward.h"
#include "rewards/rubric.h"

namespace r1 {

// What rewards may want to know of the run that uses them.
struct RewardContext {
  std::int64_t max_new_tokens = 0;  // the rollout's token budget; 0 = unknown
  // Rewards that are no part of this library, by the key that names them in a recipe entry: `python: file.py:f`,
  // `command: ./score`, `plugin: lib.so:name`, `grpc: host:port/name`,
  // `model: DIR` (rewards/model_reward.h). The maker reads that key and its own options.
  std::map<std::string, std::function<std::unique_ptr<RewardFunction>(ConfigReader&)>> external;
  // Rewards of a program that links this library, by the `name:` that a recipe gives them; they come before ours.
  std::map<std::string, std::function<std::unique_ptr<RewardFunction>(ConfigReader&)>> linked;
  // Makes the model behind `judge` from that reward's options; empty = this program has none.
  std::function<ChatClient(ConfigReader&)> chat_client;
};

using RewardMaker = std::unique_ptr<RewardFunction> (*)(ConfigReader& options, const RewardContext& context);

// The table of everything make_reward() knows. A new reward is one row here.
struct RewardKind {
  std::string_view name;
  std::string_view summary;  // one line, for help texts
  RewardMaker make;
  bool alone = false;  // Rubric::Entry::alone
};
std::span<const RewardKind> reward_kinds();

// `options` is the section that holds the reward's options; keys it does not know stay unread (ConfigReader::finish
// reports them). Throws ConfigError for an unknown name (with the nearest one and the list) and for bad options.
std::unique_ptr<RewardFunction> make_reward(const std::string& name, ConfigReader& options,
                                            const RewardContext& context = {});
// Options as YAML text: "{extract: boxed, require_end: true}". Unknown keys are errors here.
std::unique_ptr<RewardFunction> make_reward(const std::string& name, const std::string& options_yaml = "{}",
                                            const RewardContext& context = {});

// For rewards that only shape another one's verdict. Options: judge (math: a reward that judges answers), judge_options
// (its options).
std::unique_ptr<RewardFunction> make_judge(ConfigReader& options, const RewardContext& context);

// The entries of `rewards:`. Besides a reward's own options each entry has: name (or python, command, plugin, grpc, model; the
// name grpc://host:port/name is a grpc entry), as (label), weight (1), verdict (false), tasks (all). Throws ConfigError; also if no weight differs from 0.
Rubric make_rubric(std::vector<ConfigReader> entries, const RewardContext& context = {});

}  // namespace r1
