// kind: pipeline. A chain of ordinary recipes: which files they are, what is changed in them, which output is whose input.
//
//   stages:
//     - {name: zero, recipe: r1_zero.yaml, set: {rl.steps: 100, model.path: '${vars.base}'}}
//     - name: cold_start_sft
//       recipe: {kind: sft, model: {path: '${vars.base}'}, data: {path: '${cold_start_data.output}'}, ...}
//       expect: {new_tokens: 12}                   # what `r1 plan` cannot know; no part of the stage's key
//   vars: {base: models/SmolLM2-135M-Instruct}     # `r1 pipeline FILE vars.base=OTHER`
//   output: {dir: runs/r1, keep: weights, keep_old: 1}
//
// References, anywhere in a value: ${STAGE.checkpoint} (the last one of a training), ${STAGE.output} (the data file of kind: generate, the
// folder of results of kind: eval, the run folder of a training), ${vars.NAME}. A stage may refer to those above it only.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/config.h"

namespace r1 {

struct PipelineStage {
  std::string name;                // letters, digits, _ and -; unique
  Config recipe;                   // with set: and vars applied; references to stages are still in it
  std::vector<std::string> needs;  // stages above it: those that needs: names, and those it refers to
  std::map<std::string, std::string> origins;  // dotted path of a setting -> where it is written: "recipes/r1.yaml:40"
  std::map<std::string, double> expect;        // for estimates alone: new_tokens, examples, ... (apps/stage_cost.h); no part of what it is
};

struct PipelineRecipe {
  // Of a finished stage. all: everything; weights (default): the last checkpoint without the state to resume from, and no older ones;
  // needed: that too goes once every stage that refers to it is finished.
  enum class Keep { kAll, kWeights, kNeeded };
  std::string name;
  std::filesystem::path dir;  // output.dir; default runs/NAME
  Keep keep = Keep::kWeights;  // output.keep
  int keep_old = 1;           // output.keep_old: results of earlier settings that a stage keeps beside the present one
  std::vector<PipelineStage> stages;
};

// Throws ConfigError. Recipe files are looked for beside the pipeline's file, then from the current folder.
PipelineRecipe load_pipeline(const std::filesystem::path& path, std::span<const std::string> overrides = {});
PipelineRecipe make_pipeline(const Config& config);

// One entry of expect:, or of --expect. Throws ConfigError for a name that is not known and for no number.
double read_expectation(const std::string& key, const std::string& value, const std::string& where);

// The same settings with each ${STAGE.WHAT} replaced by what `value` gives for it.
Config with_references(const Config& config, const std::function<std::string(const std::string& stage, const std::string& what)>& value);

// Calls `visit` for each single value, with its dotted path; it may change the text.
void for_each_value(ConfigValue& root, const std::function<void(const std::string& path, ConfigValue& value)>& visit);
// A Config of a tree. `name` stands in errors; their lines are those of the tree as write_yaml() shows it.
Config config_of(const ConfigValue& root, const std::string& name);

}  // namespace r1
