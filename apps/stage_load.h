// How much a stage draws and learns, counted from its recipe: what `r1 plan` makes seconds and bytes of. What only the data can tell (rows,
// tokens of a row) is read where the data is there.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "apps/draw_probe.h"
#include "apps/eval_recipe.h"
#include "recipes/generate_recipe.h"
#include "recipes/recipe.h"
#include "recipes/recipe_distill.h"
#include "recipes/recipe_preference.h"
#include "recipes/recipe_sft.h"

namespace r1 {

struct DataSize {
  std::int64_t rows = 0;
  double tokens = 0;  // of a row's prompt; of a whole example where the stage learns from examples; mean of the first rows
  double answer = 0;  // of an example: those of its tokens that are trained
  std::int64_t common = 0;  // tokens that all prompts begin with: the engine computes them once
};
// Of a file that an earlier stage will make, by the name that stands for it; none = the file is read.
using MadeSizes = std::function<std::optional<DataSize>(const std::string& path)>;

// Completions that are drawn: `times` times, and after every so many updates, `samples` for each of `prompts` prompts.
struct Drawing {
  std::string what;
  std::int64_t prompts = 0;  // 0 = as many as the data has
  std::int64_t samples = 1, times = 1;
  int max_new_tokens = 0;
  std::int64_t every = 0;    // 0 = not after updates
  std::function<std::int64_t(const MadeSizes& made)> rows;  // counts data of its own; empty = the stage's. Throws what reading data throws
};

// The set that kind generate makes of what it draws.
struct Yield {
  std::int64_t prompts = 0;     // 0 = as many as the data has
  int samples = 0;              // of each, all models together
  int per_prompt = 0;           // at most so many are kept; 0 = all
  bool correct = false;         // wrong answers are left out
  bool finished = false;        // answers that the budget cut are left out (of correct ones too where the reward asks for an end)
  bool selective = false;       // other filters too
  bool scored = false;          // rewards judge the samples
  std::vector<std::pair<std::string, double>> mixed;  // finished sets in place of samples: files and weights (0 = each as it is)
  std::int64_t mixed_rows = 0;     // 0 = as many as the weights allow
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
  bool scores = false;          // learns a number for each, with no LM head: kind reward_model
  int updates_per_rollout = 1;
  int passes = 1;               // over a rollout's completions
  double forward_passes = 0;    // without a backward pass, once for what was drawn or read: reference, teacher, critic
  double old_passes = 0;        // likewise, of what is learnt from alone: the policy's old log-probabilities
  bool all_samples = false;     // completions of groups that all earn the same are trained on too
  bool reference = false, critic = false;
  std::optional<LoraOptions> lora;
  int scorers = 0;              // reward models that are asked, each of the model's size
  std::int64_t save_every = 0;  // updates between checkpoints; the last update has one too
  bool keeps_samples = false;   // each is scored, written and curated: kind generate
  std::optional<Yield> yield;   // kind generate
  bool evaluates = false;       // kind eval: every completion is kept, with its grading
  int decode_rows = 0;          // completions that decode at once; 0 = the device's choice
  std::int64_t group = 1;       // completions of one prompt that are compared with each other
  int keep = 0;                 // checkpoints that stay; 0 = all
  double record_bytes = 0;      // of recorded rollouts, at most
  std::int64_t samples_every = 0;  // updates between transcripts; 0 = none
  bool tensorboard = false;
  std::int64_t tokens_per_micro_batch = 0;  // 0 = the device's choice
  std::optional<bool> recompute;            // of activations; none = by memory
  OptimizerWishes optimizer;
  std::optional<Asking> asking;             // what a few completions can be drawn with, to see what they are
  // Reads some rows; empty = there is none. `made` is asked first. Throws what reading data throws.
  std::function<DataSize(const std::shared_ptr<const Tokenizer>& tokenizer, const std::vector<TokenId>& stop_tokens, const MadeSizes& made)> data;
};

StageLoad load_of(const Recipe& recipe);
StageLoad load_of(const SftRecipe& recipe);
StageLoad load_of(const DistillRecipe& recipe);
StageLoad load_of(const PreferenceRecipe& recipe);
StageLoad load_of(const GenerateRecipe& recipe);
StageLoad load_of(const EvalRecipe& recipe);

}  // namespace r1
