#include "rl/rl_options.h"

#include <doctest/doctest.h>

#include "core/error.h"
#include "rl/presets.h"

namespace r1 {
namespace {
RlRecipe read(const std::string& yaml) {
  const Config config = with_preset(Config::parse(yaml, "r.yaml"));
  ConfigReader root(config);
  RlRecipe r = read_rl_recipe(root);
  root.finish();
  return r;
}
}  // namespace

TEST_CASE("defaults of the toolkit") {
  const RlRecipe r = read("seed: 4\n");
  CHECK(r.grpo.loss.clip_low == 0.2);
  CHECK(r.grpo.loss.clip_high == 0.28);
  CHECK(r.grpo.loss.kl_coefficient == 0.001);
  CHECK(r.grpo.loss.aggregation == Aggregation::kTokenMean);
  CHECK(r.grpo.loss.mismatch == MismatchCorrection::kTokenTis);
  CHECK(r.grpo.loss.mismatch_cap == 2);
  CHECK(r.grpo.optimizer.beta2 == 0.95);
  CHECK(r.grpo.optimizer.weight_decay == 0);
  CHECK(r.grpo.optimizer.learning_rate.warmup == 10);
  CHECK(r.trainer.train_samples.advantage.epsilon == 1e-6);
  CHECK(r.trainer.samples_per_prompt == 16);
  CHECK_FALSE(r.trainer.dynamic.enabled);
  CHECK(r.grpo.seed == 4);
}

TEST_CASE("presets give the published constants; the recipe wins over them") {
  const RlRecipe zero = read("rl: {preset: r1_zero}\n");
  CHECK(zero.grpo.loss.clip_high == 10);
  CHECK(zero.grpo.updates_per_rollout == 16);
  CHECK(zero.trainer.prompts_per_rollout == 512);
  CHECK(zero.grpo.reference_refresh == 400);
  CHECK(zero.grpo.optimizer.weight_decay == 0.1);
  CHECK(zero.grpo.optimizer.learning_rate.peak == 3e-6);
  CHECK(zero.grpo.loss.aggregation == Aggregation::kSeqMeanTokenMean);
  const RlRecipe dapo = read("rl: {preset: dapo, steps: 7, loss: {clip_high: 0.4}}\n");
  CHECK(dapo.trainer.dynamic.enabled);
  CHECK(dapo.grpo.loss.clip_high == 0.4);
  CHECK(dapo.grpo.loss.clip_low == 0.2);
  CHECK_FALSE(dapo.grpo.needs_reference());
  CHECK(read("rl: {preset: deepseekmath}\n").trainer.samples_per_prompt == 64);
  const RlRecipe dr = read("rl: {preset: dr_grpo}\n");
  CHECK(dr.trainer.train_samples.advantage.kind == AdvantageKind::kGroupMean);
  CHECK(dr.grpo.length_budget == 3000);
  for (const Preset& p : presets()) CHECK_NOTHROW(read("rl: {preset: " + std::string(p.name) + "}\n"));
  CHECK_THROWS_WITH_AS(read("rl: {preset: zero}\n"), doctest::Contains("r1_zero"), ConfigError);
}

TEST_CASE("keys without effect, out of range or unknown are refused with their place") {
  CHECK_THROWS_WITH_AS(read("rl:\n  kl: {coefficient: 0, estimator: k1}\n"), doctest::Contains("r.yaml:2"), ConfigError);
  CHECK_THROWS_AS(read("rl: {loss: {surrogate: ratio, clip_low: 0.1}}\n"), ConfigError);
  CHECK_THROWS_AS(read("rl: {mismatch: {old_policy: behavior, cap: 3}}\n"), ConfigError);
  CHECK_THROWS_AS(read("rl: {dynamic_sampling: {max_rounds: 3}}\n"), ConfigError);
  CHECK_THROWS_AS(read("rl: {advantage: {kind: group_mean, epsilon: 0.1}}\n"), ConfigError);
  CHECK_THROWS_AS(read("rl: {min_lr_ratio: 0.1}\n"), ConfigError);
  CHECK_THROWS_AS(read("rl: {loss: {dual_clip: 0.5}}\n"), ConfigError);
  CHECK_THROWS_AS(read("rl: {betas: [0.9]}\n"), ConfigError);
  CHECK_THROWS_AS(read("rl: {steps: 0}\n"), ConfigError);
  CHECK_THROWS_AS(read("rl: {loss: {clip_hihg: 0.3}}\n"), ConfigError);
  CHECK_THROWS_WITH_AS(read("rl:\n  loss: {aggregation: mean}\n"), doctest::Contains("r.yaml:2"), ConfigError);
  CHECK_THROWS_AS(read("eval: {samples: 2, pass_k: [4]}\n"), ConfigError);
  CHECK_THROWS_AS(read("eval: {greedy: false, samples: 0}\n"), ConfigError);
  CHECK_THROWS_AS(read("rl: {dynamic_sampling: {enabled: true}}\nrollout: {samples_per_prompt: 1}\n"), ConfigError);
}

}  // namespace r1
