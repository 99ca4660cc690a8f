// How much a stage draws and learns, counted from its recipe: what `r1 plan` makes seconds and bytes of. What only the data can tell (rows,
// tokens of a row) is read where the data is there.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "apps/eval_recipe.h"
#include "recipes/generate_recipe.h"
#include "recipes/recipe.h"
#include "recipes/recipe_distill.h"
#include "recipes/recipe_preference.h"
#include "recipes/recipe_sft.h"

namespace r1 {

// Completions that are drawn: `times` times, `samples` for each of `prompts` prompts.
struct Drawing {
  std::string what;
  std::int64_t prompts = 0;  // 0 = as many as the data has
  std::int64_t samples = 1, times = 1;
  int max_new_tokens = 0;
};

struct DataSize {
  std::int64_t rows = 0;
  double tokens = 0;  // of a row's prompt; of a whole example where the stage learns from examples; mean of the first rows
};

struct StageLoad {
  std::string model, teacher;  // as in the recipe; empty = none
  DType dtype = DType::kBF16;
  std::string device = "auto";
  std::vector<Drawing> drawings;
  enum class Learns : std::uint8_t { kNothing, kCompletions, kExamples } learns = Learns::kNothing;
  std::int64_t updates = 0;     // 0 = by the number of examples
  std::int64_t per_update = 0;  // examples
  double epochs = 1;
  int sequences = 1;            // of an example: a pair has two
  int passes = 1;               // over a rollout's completions
  double forward_passes = 0;    // without a backward pass: reference, old log-probabilities of the policy
  bool all_samples = false;     // completions of groups that all earn the same are trained on too
  bool reference = false, critic = false, lora = false;
  std::int64_t save_every = 0;  // updates between checkpoints; the last update has one too
  bool keeps_samples = false;   // each is scored, written and curated: kind generate
  std::int64_t tokens_per_micro_batch = 0;  // 0 = the device's choice
  OptimizerWishes optimizer;
  // Reads some rows; empty = the data is made by another stage, or there is none. Throws what reading data throws.
  std::function<DataSize(const std::shared_ptr<const Tokenizer>& tokenizer, const std::vector<TokenId>& stop_tokens)> data;
};

StageLoad load_of(const Recipe& recipe);
StageLoad load_of(const SftRecipe& recipe);
StageLoad load_of(const DistillRecipe& recipe);
StageLoad load_of(const PreferenceRecipe& recipe);
StageLoad load_of(const GenerateRecipe& recipe);
StageLoad load_of(const EvalRecipe& recipe);

}  // namespace r1
