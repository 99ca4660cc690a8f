// The examples of a recipe with SFT's data: section, for the kinds that stand on it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "apps/backend.h"
#include "core/terminal.h"
#include "model/model_config.h"
#include "recipes/recipe_sft.h"

namespace r1 {

struct SftData {
  std::vector<SftExample> examples, validation;
  std::vector<MixturePart> parts;
  std::string line;  // for the start block
  std::int64_t longest = 0;
};

// Examples of all sources, held-out ones apart; prints what was left out. Sets the sources' max_length to the model's context where it
// is 0. Defined in train_sft.cpp. Throws ConfigError, DataError.
SftData load_sft_data(SftRecipe& recipe, const ModelConfig& model, const std::shared_ptr<const Tokenizer>& tokenizer, Terminal& terminal);

// The prompts of eval:, none without it; data.longest then counts them with their completions. Throws ConfigError for a context too short.
std::vector<Prompt> load_eval_prompts(const SftRecipe& recipe, const ModelConfig& model, const std::shared_ptr<const Tokenizer>& tokenizer,
                                      SftData& data);
// The objective, and an evaluation by sampling as the recipe has it; `prompts` may be empty.
ExampleTrainer::Parts sampled_evaluation(ExampleObjective& objective, const BackendParts& made, std::vector<Prompt> prompts,
                                         const std::shared_ptr<const Rubric>& rubric);

}  // namespace r1
