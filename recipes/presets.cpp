#include "recipes/presets.h"

#include <algorithm>
#include <array>

namespace r1 {
namespace {

// What many papers share.
#define R1_CLIP "  clip_low: 0.2\n  clip_high: 0.2\n"
#define R1_ZSCORE_NO_KL "  advantage: {kind: group_zscore}\n  kl: {coefficient: 0}\n"

constexpr auto kPresets = std::to_array<Preset>({
    {"r1_zero", "arXiv:2501.12948 and its Nature supplement",
     "optimizer betas, weight decay, schedule and gradient clip are not published: DeepSeek-V3's values "
     "(arXiv:2412.19437)",
     R"(rollout: {samples_per_prompt: 16, temperature: 1.0}
rl:
  prompts_per_rollout: 512       # 8,192 completions, split into 16 updates of 32 questions x 16
  updates_per_rollout: 16
  learning_rate: 3.0e-6
  lr_schedule: constant
  warmup_steps: 0
  adam_beta1: 0.9
  adam_beta2: 0.95
  weight_decay: 0.1
  max_grad_norm: 1.0
  clip_low: 10.0                 # the ratio's region is [-9, 11]: the lower side never acts
  clip_high: 10.0
  aggregation: seq_mean_token_mean
  advantage: {kind: group_zscore}
  kl: {coefficient: 0.001, estimator: k3, reference_refresh: 400}
)"},
    {"deepseekmath", "arXiv:2402.03300, section 4.2", "the clip range is not published: 0.2",
     R"(rollout: {samples_per_prompt: 64, temperature: 1.0, max_new_tokens: 1024}
rl:
  prompts_per_rollout: 16
  updates_per_rollout: 1
  learning_rate: 1.0e-6
)" R1_CLIP R"(  aggregation: seq_mean_token_mean
  advantage: {kind: group_zscore}
  kl: {coefficient: 0.04, estimator: k3}
)"},
    {"dapo", "arXiv:2503.14476",
     "its rewards are +1 / -1 and the overlong punishment; a recipe with rewards of its own replaces them",
     R"(rollout: {samples_per_prompt: 16, temperature: 1.0}
rewards:
  - {name: math, correct: 1, wrong: -1}
  - {name: overlong}
rl:
  prompts_per_rollout: 512
  updates_per_rollout: 16
  learning_rate: 1.0e-6
  lr_schedule: constant
  warmup_steps: 320              # 20 rollouts of 16 updates
  clip_low: 0.2
  clip_high: 0.28
  aggregation: token_mean
)" R1_ZSCORE_NO_KL R"(  dynamic_sampling: {enabled: true, max_rounds: 10, oversample: 3.0}
)"},
    {"dr_grpo", "arXiv:2503.20783", "",
     R"(rl:
)" R1_CLIP R"(  aggregation: seq_mean_token_sum_norm
  advantage: {kind: group_mean}
  kl: {coefficient: 0}
)"},
    {"gspo", "arXiv:2507.18071", "",
     R"(rl:
  updates_per_rollout: 4
  ratio_level: sequence
  clip_low: 0.0003
  clip_high: 0.0004
  aggregation: seq_mean_token_mean
)" R1_ZSCORE_NO_KL},
    {"gspo_token", "arXiv:2507.18071, section 4.3", "",
     R"(rl:
  updates_per_rollout: 4
  ratio_level: sequence_token    # for advantages that differ by token
  clip_low: 0.0003
  clip_high: 0.0004
  aggregation: seq_mean_token_mean
)" R1_ZSCORE_NO_KL},
    {"gmpo", "arXiv:2507.20673", "the clip is in log space: a token's ratio counts within [e^-0.4, e^0.4]",
     R"(rl:
  surrogate: gmpo
  clip_low: 0.4
  clip_high: 0.4
  aggregation: seq_mean_token_mean
)" R1_ZSCORE_NO_KL},
    {"sapo", "arXiv:2511.20347", "",
     R"(rl:
  surrogate: sapo
  sapo_tau_pos: 1.0
  sapo_tau_neg: 1.05
  aggregation: seq_mean_token_mean
)" R1_ZSCORE_NO_KL},
    {"cispo", "arXiv:2506.13585", "cispo_ratio_cap 5 is the value of arXiv:2510.13786",
     R"(rl:
  surrogate: cispo
  cispo_ratio_cap: 5.0
  aggregation: token_mean
)" R1_ZSCORE_NO_KL},
    {"rloo", "arXiv:2402.14740", "",
     R"(rl:
  surrogate: ratio
  aggregation: seq_mean_token_sum
  advantage: {kind: rloo}
  kl: {coefficient: 0}
)"},
    {"reinforce_pp", "arXiv:2501.03262", "",
     R"(rl:
  surrogate: clip
)" R1_CLIP R"(  aggregation: token_mean
  advantage: {kind: none, whiten: true}
  kl: {coefficient: 0, in_reward: 0.01}
)"},
    {"reinforce_pp_baseline", "arXiv:2501.03262", "its KL coefficient is that of reinforce_pp",
     R"(rl:
  surrogate: clip
)" R1_CLIP R"(  aggregation: token_mean
  advantage: {kind: group_mean, whiten: true}
  kl: {coefficient: 0.01, estimator: k2}
)"},
    {"ppo", "arXiv:1707.06347, arXiv:1506.02438; rates, batch and KL of TinyZero",
     "gamma and lambda 1: for long answers lambda 0.95 was found clearly worse (arXiv:2501.12948, supplement)",
     R"(rollout: {samples_per_prompt: 1, temperature: 1.0}
rl:
  prompts_per_rollout: 256
  updates_per_rollout: 4
  learning_rate: 1.0e-6
)" R1_CLIP R"(  aggregation: token_mean
  advantage: {kind: gae, gamma: 1.0, lambda: 1.0, whiten: true}
  critic: {learning_rate: 1.0e-5, value_clip: 0.2}
  kl: {coefficient: 0, in_reward: 0.001}
)"},
    {"deepseekmath_process", "arXiv:2402.03300, section 4.1.3", "needs a reward that gives step rewards; the clip range is not published: 0.2",
     R"(rollout: {samples_per_prompt: 64, temperature: 1.0, max_new_tokens: 1024}
rl:
  prompts_per_rollout: 16
  updates_per_rollout: 1
  learning_rate: 1.0e-6
)" R1_CLIP R"(  aggregation: seq_mean_token_mean
  advantage: {kind: process}
  kl: {coefficient: 0.04, estimator: k3}
)"},
    {"lite_ppo", "arXiv:2508.08221", "",
     R"(rl:
)" R1_CLIP R"(  aggregation: token_mean
  advantage: {kind: batch_std}
  kl: {coefficient: 0}
)"},
    {"gdpo", "arXiv:2601.05242", "for recipes with several rewards",
     R"(rl:
)" R1_CLIP R"(  aggregation: token_mean
  advantage: {kind: gdpo}
  kl: {coefficient: 0}
)"},
    {"intellect2", "arXiv:2505.07291", "its two-sided clip alone: rates and batch are the recipe's",
     R"(rl:
)" R1_CLIP R"(  dual_clip: 4.0                 # delta
  aggregation: token_mean
  advantage: {kind: group_zscore}
)"},
    {"clip_cov", "arXiv:2505.22617", "its own clip range is 1 on both sides",
     R"(rl:
  clip_low: 1.0
  clip_high: 1.0
  aggregation: token_mean
  advantage: {kind: group_zscore}
  covariance: {method: clip_cov, share: 2.0e-4, low: 1.0, high: 5.0}
  kl: {coefficient: 0}
)"},
    {"kl_cov", "arXiv:2505.22617", "share: 2e-3 for its 7B model, 2e-4 for 32B",
     R"(rl:
  surrogate: ratio
  aggregation: token_mean
  advantage: {kind: group_zscore}
  covariance: {method: kl_cov, share: 2.0e-3, penalty: 1.0}
  kl: {coefficient: 0}
)"},
    {"high_entropy", "arXiv:2506.01939", "DAPO's objective on the fifth of the tokens with the highest entropy",
     R"(rl:
  top_entropy_quantile: 0.2
  clip_low: 0.2
  clip_high: 0.28
  aggregation: token_mean
)" R1_ZSCORE_NO_KL},
    {"skywork_or1", "arXiv:2505.22312", "the adaptive entropy bonus; rates and batch are the recipe's",
     R"(rl:
)" R1_CLIP R"(  aggregation: token_mean
  advantage: {kind: group_zscore}
  adaptive_entropy: {enabled: true, start: 0.01, target: 0.2, step: 0.005}
  kl: {coefficient: 0}
)"},
    {"icepop", "arXiv:2510.18855", "tokens whose two probabilities differ too much are left out",
     R"(rl:
  aggregation: token_mean
  advantage: {kind: group_zscore}
  mismatch: {correction: token_mis, floor: 0.5, cap: 5.0}
  kl: {coefficient: 0}
)"},
    {"deepseek_v32", "arXiv:2512.02556", "the mask's threshold and the KL coefficient are not published: 0.5 and 0.001",
     R"(rl:
  aggregation: seq_mean_token_mean
  advantage: {kind: group_mean}
  off_policy_mask_threshold: 0.5
  kl: {coefficient: 0.001, estimator: k3, off_policy: true}
)"},
});

#undef R1_CLIP
#undef R1_ZSCORE_NO_KL

}  // namespace

std::span<const Preset> presets() { return kPresets; }

const Preset* find_preset(std::string_view name) {
  const auto it = std::find_if(kPresets.begin(), kPresets.end(), [&](const Preset& p) { return p.name == name; });
  return it == kPresets.end() ? nullptr : &*it;
}

}  // namespace r1
