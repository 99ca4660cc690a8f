// kind: reward_model and kind: dpo. Sections data:, reward_model: or dpo:, validation:, and those of every kind.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/config.h"
#include "preference/dpo_objective.h"
#include "preference/preference_rows.h"
#include "preference/reward_objective.h"
#include "recipes/common_sections.h"
#include "recipes/data_section.h"
#include "sft/example_trainer.h"

namespace r1 {

// data: path or generate (pairs: worked answers of a task against such with one wrong step, `r1 data TASK --pairs`); columns prompt, chosen, rejected (pairs) or prompt, response, label; max_length (0 = the model's context), overlong (error,
// skip), limit, shuffle, on_error, balance_lengths (pairs), and the template's keys as for prompts.
struct PreferenceDataSection {
  PreferenceRowOptions rows;
  std::optional<GeneratedData> generate;  // in place of rows' files
  bool balance_lengths = false;  // of the training pairs
};

// validation: held-out examples. path or generate, or share: of the training prompts, drawn by the seed (all pairs of a prompt go together).
struct PreferenceValidationSection {
  std::optional<PreferenceRowOptions> rows;
  std::optional<GeneratedData> generate;
  double share = 0;
};

struct PreferenceRecipe {
  std::string name;
  bool reward_model = true;    // else DPO
  ModelSection model;
  PreferenceDataSection data;
  std::optional<PreferenceValidationSection> validation;
  // reward_model: loss (pairwise, pointwise), centring, head_std. Defaults: batch 256, 6e-6, one epoch (arXiv:2501.12948).
  RewardOptions reward;
  double head_std = 0.02;      // the head starts at N(0, head_std); as transformers' initializer_range
  // dpo: loss, beta, label_smoothing. Defaults: batch 512, 5e-6, cosine with warm-up, one epoch (arXiv:2401.02954).
  DpoOptions dpo;
  ExampleTrainerOptions trainer;  // examples_per_update, epochs, optimizer; the updates are set by plan_updates()
  double warmup_ratio = 0;        // of the updates, where warmup_steps is not set
  std::optional<LoraSection> lora;  // none = all parameters are trained; of a reward model the head always is
  TrainSection train;
  double gpu_memory_share = 0.9;
  OutputSection output;
  std::uint64_t seed = 0;
  std::optional<ResolvedConfig> resolved;
};

// `reward_model`: else a recipe of DPO. Throws ConfigError.
PreferenceRecipe make_preference_recipe(const Config& config, bool reward_model);

// Reads or makes the examples. `key` stands in errors.
PreferenceRows load_preference_source(const PreferenceRowOptions& rows, const std::optional<GeneratedData>& generate, const std::string& key,
                                      std::shared_ptr<const Tokenizer> tokenizer, const std::vector<TokenId>& stop_tokens);

// Takes round(share x prompts) prompts with all their examples out, drawn by the seed. Throws ConfigError if nothing would be left.
PreferenceSet take_held_out(PreferenceSet& set, double share, std::uint64_t seed);

}  // namespace r1
