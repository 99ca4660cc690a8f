// Command-line options that name prompts and rewards, shared by `r1 generate` and `r1 eval`.
#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "recipes/data_section.h"
#include "rewards/rubric.h"
#include "rollout/engine.h"
#include "text/tokenizer.h"

namespace r1 {

struct DataOptions {
  DataSection section;
  std::vector<std::string> rewards = {"math"};

  void add_to(CLI::App& cmd);
  // The rubric of --rewards, each with weight 1. Throws ConfigError for an unknown name.
  Rubric rubric(int max_new_tokens) const;
  // All rows, checked; with `scored` also by the rubric. Throws DataError, ConfigError.
  std::vector<Prompt> load(std::shared_ptr<const Tokenizer> tokenizer, const Rubric& rubric, bool scored) const;
};

struct SamplingFlags {
  SamplingOptions options;
  std::uint64_t seed = 0;
  void add_to(CLI::App& cmd, float default_temperature);
};

}  // namespace r1
