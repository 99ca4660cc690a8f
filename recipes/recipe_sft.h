// kind: sft. A recipe of supervised fine-tuning: sections data:, sft:, validation:, eval: (with rewards:), and those of every kind.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/config.h"
#include "recipes/common_sections.h"
#include "recipes/data_section.h"
#include "rewards/factory.h"
#include "rewards/rubric.h"
#include "sft/example_trainer.h"
#include "sft/examples.h"

namespace r1 {

// One source of examples.
struct SftSource {
  SftRowOptions rows;                     // path; messages, prompt, completion: columns
  std::optional<GeneratedData> generate;  // instead of path: worked rows of `r1 data TASK --worked`
  double weight = 1;                      // times its examples come in an epoch (sft/example_stream.h)
};

// data: path or generate, or mixture: a list of {path or generate, weight, columns}; max_length (0 = the model's context), overlong,
// limit (rows of each source), shuffle, on_error, and the template's keys as for prompts.
struct SftDataSection {
  std::vector<SftSource> sources;
};

// validation: held-out examples whose loss is reported. path or generate, or share: of the training examples, drawn by the seed.
struct SftValidationSection {
  std::optional<SftSource> source;
  double share = 0;
};

struct SftRecipe {
  std::string name;
  ModelSection model;
  SftDataSection data;
  std::optional<SftValidationSection> validation;
  std::optional<DataSection> eval_data;  // eval: a generative evaluation; none = none
  std::shared_ptr<const Rubric> rubric;  // rewards: judge it; null without eval
  // sft: epochs, examples_per_update, optimizer; data.shuffle, evaluation, output.save_every, seed. The updates are set by plan_updates().
  ExampleTrainerOptions trainer;
  std::optional<std::int64_t> steps;     // sft: steps, in place of epochs
  double mtp_loss = 0;                   // sft: factor of the multi-token prediction loss
  double warmup_ratio = 0;               // of the updates, where warmup_steps is not set
  std::optional<LoraSection> lora;       // none = all parameters are trained
  TrainSection train;
  double gpu_memory_share = 0.9;         // train.gpu_memory_share: of what is free on the GPU at the start
  OutputSection output;
  std::uint64_t seed = 0;
  std::vector<std::string> warnings;
  std::optional<ResolvedConfig> resolved;
};

// As make_recipe(). Throws ConfigError. `more` reads what a kind that stands on this one has besides (distillation), before unknown keys
// are errors; `kind` is that kind's name.
SftRecipe make_sft_recipe(const Config& config, RewardContext context = {}, const char* kind = "sft",
                          const std::function<void(ConfigReader& root, SftRecipe& recipe)>& more = {});

// Reads or makes the examples of a source. `key` stands in errors.
SftRows load_sft_source(const SftSource& source, const std::string& key, std::shared_ptr<const Tokenizer> tokenizer,
                        const std::vector<TokenId>& stop_tokens);

// Takes round(share x n) examples out, drawn by the seed; the order of both lists is the given one. Throws ConfigError if one is empty.
std::vector<SftExample> take_validation(std::vector<SftExample>& examples, double share, std::uint64_t seed);

}  // namespace r1
