// kind: generate: a recipe for making a data set, or for mixing finished ones -> the option structs of its parts.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/weights.h"
#include "distill/curate.h"
#include "distill/mixture.h"
#include "distill/record.h"
#include "distill/rewrite.h"
#include "distill/write_set.h"
#include "recipes/data_section.h"
#include "rewards/factory.h"
#include "rewards/rubric.h"
#include "rollout/engine.h"

namespace r1 {

// engines: a list of {model} for a model in this process and {url, model} for a server. Entries of one model are its engines
// and share the work; each model gives its own samples of every prompt.
struct EngineSection {
  std::string model;               // directory, GGUF file, hub name; or what the server calls it
  DType dtype = DType::kBF16;      // of a model in this process, as device
  std::string device = "auto";
  std::string url;                 // "" = in this process
  ChatClient client;               // of a server
  int parallel = 8;                // questions at once to a server
  int samples = 0;                 // a prompt
  SamplingOptions sampling;
};

struct GenerateRecipe {
  std::string name;
  DataSection data;
  std::vector<EngineSection> engines;
  std::uint64_t seed = 0;
  int threads = 0, reward_threads = 1;
  std::shared_ptr<const Rubric> rubric;  // null = nothing is scored
  std::string rewards_json;              // rewards: as it was written
  CurateOptions curate;
  std::optional<RewriteOptions> rewrite;
  ChatClient rewriter;
  SetPaths paths;
  SetOptions set;
  std::optional<MixOptions> mix;         // instead of data, engines, ...
  std::filesystem::path from;            // a raw file that is filtered anew; nothing is drawn
  std::optional<ResolvedConfig> resolved;
};

// As load_recipe() of recipe.h: ConfigErrors with file, line, key and remedy before any work. `context.chat_client` makes the
// clients of servers and of the rewriter.
GenerateRecipe load_generate_recipe(const Config& config, RewardContext context);

// The rubric that `rewards_json` means, for drawing a record again. Null for "".
std::shared_ptr<const Rubric> rubric_from_json(const std::string& rewards_json, RewardContext context);

}  // namespace r1
