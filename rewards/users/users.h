// Rewards that users write: one contract, several ways. docs/user_rewards.md is the users' page.
#pragma once

#include <memory>

#include "core/config.h"
#include "rewards/factory.h"
#include "rewards/reward.h"

namespace r1 {

// `command: ./score` (one text: a command line, by /bin/sh where it
// needs a shell; a list: program and arguments). Keys beside it: workers (1),
// timeout (60 s a batch), start_timeout (60 s), on_error (stop or abstain). The command gets one JSON line a group and
// answers with one (rewards/users/user_reply.h); the first group has no completions and asks whether it works.
// Throws ConfigError if it does not exist, does not start, or does not answer that.
std::unique_ptr<RewardFunction> make_command_reward(ConfigReader& options);

// `python: my_rewards.py:brevity`, or `python: package.module:function`: a function with TRL's signature
// f(prompts, completions, completion_ids, **columns) -> list[float | None], plain or async, called with one group at a
// time in worker processes; a class is made once with `arguments` and its object called. Keys beside it: arguments
// ({}: further keywords), interpreter (python3), conversational (auto, true, false: messages or texts), and those of
// commands. Throws ConfigError with the traceback if it cannot be loaded.
std::unique_ptr<RewardFunction> make_python_reward(ConfigReader& options);

// `plugin: libmine.so:name`: a C++ class in a shared library (rewards/plugin.h). Keys beside it: arguments ({}), on_error.
// No deadline: code in our own process cannot be stopped. Throws ConfigError if the library cannot be loaded, was built
// for another version, lacks the name, or refuses its arguments.
std::unique_ptr<RewardFunction> make_plugin_reward(ConfigReader& options);

// Adds the ways above to what a recipe may name. gRPC is proto/grpc_reward.h.
void add_user_rewards(RewardContext& context);

}  // namespace r1
