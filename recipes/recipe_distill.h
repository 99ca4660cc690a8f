// kind: distill. `distill: {mode: ...}` says how a student learns from a teacher:
//   sft        hard labels, the teacher's texts: a recipe of kind sft, as DeepSeek-R1's students (arXiv:2501.12948)
//   logits     the teacher's distributions on given texts: sections of kind sft, and the divergence
//   gkd        the same on the student's own answers in a share of the updates (arXiv:2306.13649)
//   on_policy  a rollout without reward whose advantages are the teacher's: sections of kind grpo; rewards: are measured alone
#pragma once

#include <filesystem>
#include <string>

#include "core/config.h"
#include "kd/distill_objective.h"
#include "recipes/recipe.h"
#include "recipes/recipe_sft.h"

namespace r1 {

enum class DistillMode : std::uint8_t { kSft, kLogits, kGkd, kOnPolicy };
// Reads distill.mode (required). Throws ConfigError.
DistillMode distill_mode(const Config& config);

struct DistillRecipe {
  SftRecipe base;              // model: is the student
  std::string teacher;         // HF directory, GGUF file or hub name; empty: the store has it all
  // divergence (forward_kl, reverse_kl, jsd; jsd in mode gkd), beta (0.5), temperature (1); mode gkd: student_share (0.5)
  DistillOptions options;
  int top_k = 0;               // mode logits: only so many tokens of a teacher's row are kept, in `store`; 0 = the teacher stays, all of it
  std::filesystem::path store; // made if it is not there. Default with top_k: cache/teacher_top_k.safetensors in the run folder
  SamplingOptions sampling;    // rollout: of the student's answers in mode gkd: temperature (0.9), max_new_tokens
};

// Modes logits and gkd.
DistillRecipe make_distill_recipe(const Config& config, RewardContext context = {});
// Mode sft.
SftRecipe make_distill_sft_recipe(const Config& config, RewardContext context = {});

// Mode on_policy: a recipe of kind grpo; recipe.teacher names the teacher.
Recipe make_on_policy_recipe(const Config& config, RewardContext context = {});

}  // namespace r1
