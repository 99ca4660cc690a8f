#include "recipes/presets.h"

#include <algorithm>
#include <array>

namespace r1 {
namespace {

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
  clip_low: 0.2
  clip_high: 0.2
  aggregation: seq_mean_token_mean
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
  advantage: {kind: group_zscore}
  kl: {coefficient: 0}
  dynamic_sampling: {enabled: true, max_rounds: 10, oversample: 3.0}
)"},
    {"dr_grpo", "arXiv:2503.20783", "",
     R"(rl:
  clip_low: 0.2
  clip_high: 0.2
  aggregation: seq_mean_token_sum_norm
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
  advantage: {kind: group_zscore}
  kl: {coefficient: 0}
)"},
    {"cispo", "arXiv:2506.13585", "cispo_ratio_cap 5 is the value of arXiv:2510.13786",
     R"(rl:
  surrogate: cispo
  cispo_ratio_cap: 5.0
  aggregation: token_mean
  advantage: {kind: group_zscore}
  kl: {coefficient: 0}
)"},
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
  clip_low: 0.2
  clip_high: 0.2
  aggregation: token_mean
  advantage: {kind: none, whiten: true}
  kl: {coefficient: 0, in_reward: 0.01}
)"},
});

}  // namespace

std::span<const Preset> presets() { return kPresets; }

const Preset* find_preset(std::string_view name) {
  const auto it = std::find_if(kPresets.begin(), kPresets.end(), [&](const Preset& p) { return p.name == name; });
  return it == kPresets.end() ? nullptr : &*it;
}

}  // namespace r1
