// kind: eval. What `r1 eval` does, from a recipe: benchmarks, or problems of a file or made ones, on one model.
#pragma once

#include <optional>

#include "apps/eval_job.h"
#include "apps/eval_model.h"
#include "core/config.h"

namespace r1 {

// model: path (or a URL, with served_model, api, api_key_env), dtype, device. benchmarks: a list; data: path (with benchmarks files, folders,
// NAME=FILE), or generate, columns, template and limit as in other recipes. rewards: names that judge problems of data: (math). protocol,
// samples, pass_k, temperature, top_p, max_new_tokens, stop, seed, think: as the command's flags. output: {dir}.
struct EvalRecipe {
  EvalModelOptions model;
  EvalJobOptions job;
  std::optional<ResolvedConfig> resolved;
};
// Throws ConfigError. Opens no model and reads no data.
EvalRecipe load_eval_recipe(const Config& config);

// Runs it; prints the table of results, or JSON. Throws what run_eval_job() does.
void run_eval_recipe(EvalRecipe recipe, int threads, bool quiet, bool json);

}  // namespace r1
