// The sections rollout: and rl:.
#include <array>

#include "core/error.h"
#include "core/suggest.h"
#include "recipes/presets.h"
#include "recipes/recipe.h"

namespace r1::detail {
namespace {

constexpr std::int64_t kMaxSteps = 1'000'000'000;

void read_updates(ConfigReader& rl, Recipe& recipe) {
  recipe.learner.optimizer = read_optimizer(rl, OptimizerDefaults{});
  LrOptions& lr = recipe.learner.optimizer.learning_rate;
  lr.warmup = rl.get_in<std::int64_t>("warmup_steps", 10, 0, kMaxSteps);
  lr.total = recipe.trainer.steps;
  if (lr.schedule != LrSchedule::kConstant && lr.warmup >= recipe.trainer.steps) {
    rl.fail("warmup_steps", message("= ", lr.warmup, " is not below rl.steps = ", recipe.trainer.steps));
  }
  if (lr.warmup > recipe.trainer.steps) {
    recipe.warnings.push_back(message("rl.warmup_steps = ", lr.warmup, " is above rl.steps = ", recipe.trainer.steps,
                                      ": the learning rate never reaches its value"));
  }
}

void read_loss(ConfigReader& rl, Recipe& recipe) {
  PolicyLossOptions& l = recipe.learner.loss;
  l.surrogate = read_name(rl, "surrogate", "clip", parse_surrogate);
  l.ratio_level = read_name(rl, "ratio_level", "token", parse_ratio_level);
  if (l.surrogate == Surrogate::kClip) {
    l.clip_low = rl.get_in<double>("clip_low", 0.2, 0.0, 1e6);
    l.clip_high = rl.get_in<double>("clip_high", 0.28, 0.0, 1e6);
    l.dual_clip = rl.get_in<double>("dual_clip", 0.0, 0.0, 1e6);
    if (l.dual_clip != 0 && l.dual_clip <= 1) rl.fail("dual_clip", "must be above 1, or 0 for none");
  } else {
    for (const char* key : {"clip_low", "clip_high", "dual_clip"}) rl.reject(key, "it belongs to surrogate: clip");
  }
  if (l.surrogate == Surrogate::kCispo) l.cispo_ratio_cap = rl.get_in<double>("cispo_ratio_cap", 5.0, 1e-6, 1e6);
  else rl.reject("cispo_ratio_cap", "it belongs to surrogate: cispo");
  l.aggregation = read_name(rl, "aggregation", "token_mean", parse_aggregation);
  l.entropy_coefficient = rl.get_in<double>("entropy_coefficient", 0.0, -10.0, 10.0);
  recipe.learner.want_entropy = l.entropy_coefficient != 0;

  ConfigReader kl = rl.section("kl");
  l.kl_coefficient = kl.get_in<double>("coefficient", 0.0, 0.0, 1e3);
  recipe.learner.kl_in_reward = kl.get_in<double>("in_reward", 0.0, 0.0, 1e3);
  if (l.kl_coefficient != 0) {
    l.kl_estimator = read_name(kl, "estimator", "k3", parse_kl_estimator);
    l.kl_off_policy = kl.get<bool>("off_policy", false);
    if (l.kl_estimator == KlEstimator::kK1) {
      recipe.warnings.push_back(
          "rl.kl.estimator k1 in the loss has an expected gradient of 0; use k3 or k2, or kl.in_reward");
    }
  } else {
    kl.reject("estimator", "kl.coefficient is 0 (kl.in_reward always uses k1)");
    kl.reject("off_policy", "kl.coefficient is 0");
  }
  if (recipe.learner.needs_reference())
    recipe.learner.reference_refresh = kl.get_in<std::int64_t>("reference_refresh", 0, 0, kMaxSteps);
  else kl.reject("reference_refresh", "kl.coefficient and kl.in_reward are 0, so there is no reference model");

  ConfigReader mismatch = rl.section("mismatch");
  recipe.learner.old_policy = read_name(mismatch, "old_policy", "recompute", parse_old_policy);
  if (recipe.learner.old_policy == OldPolicy::kBehavior) {
    for (const char* key : {"correction", "cap", "floor"})
      mismatch.reject(key, "with old_policy: behavior the ratio holds the mismatch already");
    l.mismatch = MismatchCorrection::kNone;
  } else {
    l.mismatch = read_name(mismatch, "correction", "token_tis", parse_mismatch_correction);
    if (l.mismatch != MismatchCorrection::kNone) {
      l.mismatch_cap = mismatch.get_in<double>("cap", 2.0, 1e-6, 1e6);
      l.mismatch_floor = mismatch.get_in<double>("floor", 0.0, 0.0, 1e6);
      if (l.mismatch_floor > l.mismatch_cap)
        mismatch.fail("floor", message("must not be above cap (", l.mismatch_cap, ")"));
    } else {
      mismatch.reject("cap", "correction is none");
      mismatch.reject("floor", "correction is none");
    }
  }
}

void read_advantage(ConfigReader& rl, Recipe& recipe) {
  TrainerOptions& t = recipe.trainer;
  ConfigReader a = rl.section("advantage");
  t.train_samples.advantage.kind = read_name(a, "kind", "group_zscore", parse_advantage_kind);
  const AdvantageKind kind = t.train_samples.advantage.kind;
  if (kind == AdvantageKind::kGroupZscore || kind == AdvantageKind::kBatchStd) {
    t.train_samples.advantage.epsilon = a.get_in<double>("epsilon", 1e-6, 0.0, 1.0);
  } else {
    a.reject("epsilon", message("advantage.kind ", to_string(kind), " divides by no standard deviation"));
  }
  recipe.learner.whiten_advantages = a.get<bool>("whiten", false);
  if (recipe.learner.whiten_advantages)
    recipe.learner.whiten_epsilon = a.get_in<double>("whiten_epsilon", 1e-6, 0.0, 1.0);
  else a.reject("whiten_epsilon", "advantage.whiten is off");

  const bool baseline = kind != AdvantageKind::kNone;
  if (baseline && t.samples_per_prompt < 2) {
    rl.fail("advantage",
            message("= ", to_string(kind), " compares the samples of a prompt, but rollout.samples_per_prompt is ",
                    t.samples_per_prompt, "; use at least 2, or advantage.kind: none"));
  }
}

}  // namespace

void read_rollout(ConfigReader reader, Recipe& recipe) {
  TrainerOptions& t = recipe.trainer;
  reader.get_choice("engine", "local", std::array<std::string, 1>{"local"});
  t.samples_per_prompt = reader.get_in<int>("samples_per_prompt", 16, 1, 4096);
  SamplingOptions& s = t.sampling;
  s.temperature = reader.get_in<float>("temperature", 1.f, 0.f, 10.f);
  s.top_k = reader.get_in<int>("top_k", 0, 0, 1 << 24);
  s.top_p = reader.get_in<float>("top_p", 1.f, 0.f, 1.f);
  s.min_p = reader.get_in<float>("min_p", 0.f, 0.f, 1.f);
  s.max_new_tokens = reader.get_in<int>("max_new_tokens", 512, 1, 1 << 24);
  s.stop_strings = reader.get<std::vector<std::string>>("stop", {});
  s.stop_tokens = reader.get<std::vector<int>>("stop_token_ids", {});
  s.want_entropy = reader.get<bool>("entropy", true);
  if (s.temperature == 0.f)
    reader.fail("temperature", "is 0: every sample of a prompt would be the same and nothing could be learnt; use 1.0");
  if (s.top_p == 0.f) reader.fail("top_p", "must be above 0 (1 = off)");
  for (const std::string& stop : s.stop_strings) {
    if (stop.empty()) reader.fail("stop", "holds an empty text, which would stop at once");
  }
  if (s.top_k != 0 || s.top_p < 1.f || s.min_p > 0.f) {
    recipe.warnings.push_back(
        "rollout.top_k, top_p or min_p cut the distribution that is sampled from; the learner computes the full one, "
        "so the two "
        "differ on every token (watch mismatch/*)");
  }
  LocalEngineOptions& e = recipe.engine;
  // 0 = what suits the device: 128 rows, 1 GiB and 512 tokens on the CPU; 1024, all that is free and 8192 on the GPU.
  e.max_rows = reader.get_in<int>("max_rows", 0, 0, 1 << 20);
  const double gib = reader.get_in<double>("kv_cache_gb", 0.0, 0.0, 1e6);
  if (gib > 0 && gib < 0.001) reader.fail("kv_cache_gb", "is below 0.001; leave it out for what suits the device");
  e.kv_cache_bytes = static_cast<std::int64_t>(gib * 1073741824.0);
  e.prefill_tokens_per_step = reader.get_in<int>("prefill_tokens_per_step", 0, 0, 1 << 24);
  recipe.gpu_memory_share = reader.get_in<double>("gpu_memory_share", 0.9, 0.05, 1.0);
  if (recipe.model.device == "cpu") reader.reject("gpu_memory_share", "model.device is cpu");
  e.prefix_cache = reader.get<bool>("prefix_cache", true);
}

void read_rl(ConfigReader rl, Recipe& recipe) {
  TrainerOptions& t = recipe.trainer;
  GrpoOptions& g = recipe.learner;
  rl.get<std::string>("preset", "");  // applied before; parse_recipe() checked the name
  t.steps = rl.get_in<std::int64_t>("steps", 200, 1, kMaxSteps);
  t.prompts_per_rollout = rl.get_in<int>("prompts_per_rollout", 32, 1, 1 << 20);
  g.updates_per_rollout = rl.get_in<int>("updates_per_rollout", 1, 1, 1 << 20);
  g.passes_per_rollout = rl.get_in<int>("passes_per_rollout", 1, 1, 1000);
  const std::int64_t completions = std::int64_t{t.prompts_per_rollout} * t.samples_per_prompt;
  if (g.updates_per_rollout > completions) {
    rl.fail("updates_per_rollout", message("= ", g.updates_per_rollout, " is more than the ", completions,
                                           " completions of a rollout (prompts_per_rollout x samples_per_prompt)"));
  }
  read_updates(rl, recipe);
  read_loss(rl, recipe);
  read_advantage(rl, recipe);
  t.train_samples.overlong_filter = rl.get<bool>("overlong_filter", false);
  ConfigReader dynamic = rl.section("dynamic_sampling");
  t.dynamic.enabled = dynamic.get<bool>("enabled", false);
  if (t.dynamic.enabled) {
    t.dynamic.max_rounds = dynamic.get_in<int>("max_rounds", 10, 1, 10000);
    t.dynamic.oversample = dynamic.get_in<double>("oversample", 1.0, 1.0, 100.0);
    if (t.samples_per_prompt < 2)
      dynamic.fail("enabled", "needs rollout.samples_per_prompt of at least 2: one sample is never mixed");
  } else {
    dynamic.reject("max_rounds", "dynamic_sampling.enabled is false");
    dynamic.reject("oversample", "dynamic_sampling.enabled is false");
  }
  g.temperature = t.sampling.temperature;
  g.length_budget = t.sampling.max_new_tokens;
  if (g.updates_per_rollout * g.passes_per_rollout == 1 && g.loss.surrogate == Surrogate::kClip &&
      (rl.set_by("clip_low") == Origin::Kind::kRecipe || rl.set_by("clip_high") == Origin::Kind::kRecipe) &&
      g.old_policy == OldPolicy::kRecompute) {
    recipe.warnings.push_back(
        "rl.clip_low and clip_high have no effect: with one update a rollout the ratio is exactly 1");
  }
}

}  // namespace r1::detail
