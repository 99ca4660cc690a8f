// The sections of a recipe that the RL loop owns -> its options: rl, train, eval, and the sampling keys of rollout.
#pragma once

#include <cstdint>

#include "core/config.h"
#include "rl/learner.h"
#include "rl/trainer.h"

namespace r1 {

struct RlRecipe {
  GrpoOptions grpo;
  TrainerOptions trainer;         // config_digest is the caller's to fill
  bool gradient_checkpointing = true;
  int keep_checkpoints = 3;       // output.keep; 0 = all
  std::int64_t samples_every = 10;
};

// Reads, of a recipe that with_preset() has completed:
//   seed
//   rl: preset, steps, prompts_per_rollout, updates_per_rollout, passes_per_rollout, learning_rate, schedule,
//       warmup_steps, min_lr_ratio, betas, adam_epsilon, weight_decay, decay_norms_and_biases, max_grad_norm,
//       advantage {kind, epsilon, whiten}, loss {surrogate, ratio_level, aggregation, clip_low, clip_high, dual_clip,
//       cispo_ratio_cap}, kl {coefficient, estimator, off_policy, in_reward, refresh_every}, entropy {coefficient},
//       mismatch {correction, floor, cap, old_policy}, dynamic_sampling {enabled, max_rounds, oversample},
//       overlong_filter, reward_threads
//   rollout: samples_per_prompt, temperature, top_p, top_k, min_p, max_new_tokens, stop   (the engine's keys are the caller's)
//   train: tokens_per_micro_batch, gradient_checkpointing
//   eval: every, at_start, greedy, samples, pass_k, temperature, top_p, top_k, max_new_tokens     (its data are the caller's)
//   output: save_every, keep, samples_every                                               (its folder is the caller's)
// Throws ConfigError naming file, line, key and remedy, also for a key that has no effect beside the others.
RlRecipe read_rl_recipe(ConfigReader& root);

}  // namespace r1
