// A recipe of TRL or open-r1 (the YAML file of `trl grpo --config` or `trl sft --config`) as one of ours.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/config.h"

namespace r1 {

struct TrlOptions {
  int processes = 1;                  // that the recipe was meant for: they multiply its batch
  std::optional<std::int64_t> rows;   // of the data set, where num_train_epochs is to become rl.steps; none = not known
  std::string chat_template_file;     // where a chat_template written in the recipe will lie; empty = such a recipe is refused
};

struct TrlImport {
  std::string yaml;                   // the recipe
  std::vector<std::string> mapped;    // "num_generations: 16 -> rollout.samples_per_prompt: 16", one a key that counts
  std::vector<std::string> ignored;   // "use_vllm: the rollout engine is our own"
  std::string chat_template;          // to be written to chat_template_file; empty = none
};

// Every key is mapped, listed as ignored, or an error (unknown ones with the nearest known name; settings that we have not). What TRL
// 1.16 takes where a recipe is silent is written out, since ours would take other values. Throws ConfigError.
TrlImport import_trl(const Config& theirs, const TrlOptions& options);

}  // namespace r1
