// The kinds of training that `r1 train` knows: one function each, apps/train_KIND.cpp, chosen by the recipe's `kind:`.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "apps/command.h"
#include "comm/session.h"
#include "core/config.h"

namespace r1 {

struct TrainRequest {
  const Config& config;   // the recipe with its overrides; not yet read
  const Globals& globals;
  bool overwrite = false, resume = false;
  std::string command_line;
  Session* session = nullptr;  // of a run on several ranks; null = one process
};

struct TrainKind {
  std::string_view name;
  int (*train)(const TrainRequest&);  // gives the exit code; throws core/error.h's classes
};
std::span<const TrainKind> train_kinds();  // the table; its first is what a recipe without kind: is

// Throws ConfigError naming the known kinds for any other. As one of several ranks (comm/launch.h) it meets the others first; what ends it
// ends them too.
int train_by_kind(const TrainRequest& request);

int train_grpo(const TrainRequest& request);
int train_sft(const TrainRequest& request);
int train_reward_model(const TrainRequest& request);
int train_dpo(const TrainRequest& request);
int train_distill(const TrainRequest& request);

}  // namespace r1
