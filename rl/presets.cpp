#include "rl/presets.h"

#include <array>

#include "core/error.h"

namespace r1 {
namespace {

// A step is one policy update. "published" = stated by the source; the other values are ours where it is silent.
constexpr std::array<Preset, 8> kPresets = {{
    {"r1_zero", "DeepSeek-R1, arXiv:2501.12948 v2 (Nature 645:633)", R"(# published: learning rate, KL, clip 10 (stage 2), temperature, samples, prompts, updates, reference refresh
rl:
  prompts_per_rollout: 512
  updates_per_rollout: 16
  learning_rate: 3.0e-6
  warmup_steps: 0
  weight_decay: 0.1
  advantage: {kind: group_zscore}
  loss: {aggregation: seq_mean_token_mean, clip_low: 10, clip_high: 10}
  kl: {coefficient: 0.001, estimator: k3, refresh_every: 400}
rollout: {samples_per_prompt: 16, temperature: 1.0, max_new_tokens: 32768}
)"},
    {"deepseekmath", "DeepSeekMath (GRPO), arXiv:2402.03300", R"(# published: learning rate, KL, samples, batch 1,024, length, one update a rollout
rl:
  prompts_per_rollout: 16
  updates_per_rollout: 1
  learning_rate: 1.0e-6
  warmup_steps: 0
  advantage: {kind: group_zscore}
  loss: {aggregation: seq_mean_token_mean, clip_low: 0.2, clip_high: 0.2}
  kl: {coefficient: 0.04, estimator: k3}
rollout: {samples_per_prompt: 64, temperature: 1.0, max_new_tokens: 1024}
)"},
    {"dapo", "DAPO, arXiv:2503.14476", R"(# published: all but the betas. Its overlong penalty is a reward: add {name: overlong} to `rewards`
rl:
  prompts_per_rollout: 512
  updates_per_rollout: 16
  learning_rate: 1.0e-6
  warmup_steps: 320
  advantage: {kind: group_zscore}
  loss: {aggregation: token_mean, clip_low: 0.2, clip_high: 0.28}
  kl: {coefficient: 0}
  dynamic_sampling: {enabled: true, max_rounds: 10, oversample: 3}
rollout: {samples_per_prompt: 16, temperature: 1.0, max_new_tokens: 20480}
)"},
    {"dr_grpo", "Dr. GRPO, arXiv:2503.20783", R"(# published: no division by the std, the constant denominator, no KL
rl:
  prompts_per_rollout: 128
  learning_rate: 1.0e-6
  advantage: {kind: group_mean}
  loss: {aggregation: seq_mean_token_sum_norm, clip_low: 0.2, clip_high: 0.2}
  kl: {coefficient: 0}
rollout: {samples_per_prompt: 8, temperature: 1.0, max_new_tokens: 3000}
)"},
    {"gspo", "GSPO, arXiv:2507.18071", R"(# published: sequence ratio, clip range, four minibatches, no KL
rl:
  updates_per_rollout: 4
  learning_rate: 1.0e-6
  advantage: {kind: group_zscore}
  loss: {ratio_level: sequence, aggregation: seq_mean_token_mean, clip_low: 3.0e-4, clip_high: 4.0e-4}
  kl: {coefficient: 0}
)"},
    {"cispo", "CISPO (MiniMax-M1), arXiv:2506.13585", R"(# published: the objective; the cap 5 is ours, as is the rest
rl:
  learning_rate: 1.0e-6
  advantage: {kind: group_zscore}
  loss: {surrogate: cispo, cispo_ratio_cap: 5, aggregation: token_mean}
  kl: {coefficient: 0}
)"},
    {"rloo", "RLOO, arXiv:2402.14740", R"(# published: the baseline, no clip, the KL inside the reward
rl:
  learning_rate: 1.0e-6
  advantage: {kind: rloo}
  loss: {surrogate: ratio, aggregation: seq_mean_token_sum}
  kl: {coefficient: 0, in_reward: 0.05}
rollout: {samples_per_prompt: 4}
)"},
    {"reinforce_pp", "REINFORCE++, arXiv:2501.03262", R"(# published: no group baseline, whitening over the batch, clip, the KL inside the reward
rl:
  prompts_per_rollout: 512
  learning_rate: 1.0e-6
  advantage: {kind: none, whiten: true}
  loss: {aggregation: token_mean, clip_low: 0.2, clip_high: 0.2}
  kl: {coefficient: 0, in_reward: 0.01}
rollout: {samples_per_prompt: 1}
)"},
}};

}  // namespace

std::span<const Preset> presets() { return kPresets; }

const Preset& find_preset(std::string_view name) {
  std::string known;
  for (const Preset& p : kPresets) {
    if (p.name == name) return p;
    known.append(known.empty() ? "" : ", ").append(p.name);
  }
  throw ConfigError(message("rl.preset is \"", name, "\"; it can be ", known));
}

Config with_preset(const Config& config) {
  const auto name = config.peek("rl.preset");
  if (!name) return config;
  const Preset& preset = find_preset(*name);
  return config.with_defaults(std::string(preset.yaml), message("preset ", preset.name));
}

}  // namespace r1
