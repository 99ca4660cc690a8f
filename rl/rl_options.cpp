#include "rl/rl_options.h"

#include <string>
#include <vector>

#include "core/error.h"

namespace r1 {
namespace {

constexpr double kHuge = 1e12;
constexpr std::int64_t kMany = std::int64_t{1} << 40;

// A parser's ConfigError, with the place in the recipe in front.
template <class Parse>
auto choice(ConfigReader& section, const std::string& key, const std::string& fallback, Parse parse) {
  const auto text = section.get<std::string>(key, fallback);
  try {
    return parse(text);
  } catch (const ConfigError& e) {
    throw ConfigError(section.where(key) + ": " + e.what());
  }
}

void read_optimizer(ConfigReader& rl, OptimizerOptions& o, std::int64_t steps) {
  o.learning_rate.peak = rl.get_in<double>("learning_rate", 1e-6, 0, 1);
  o.learning_rate.schedule = choice(rl, "schedule", "constant", parse_lr_schedule);
  o.learning_rate.warmup = rl.get_in<std::int64_t>("warmup_steps", 10, 0, kMany);
  o.learning_rate.total = steps;
  if (o.learning_rate.schedule == LrSchedule::kCosineWithMinLr)
    o.learning_rate.min_ratio = rl.get_in<double>("min_lr_ratio", 0.1, 0, 1);
  else
    rl.reject("min_lr_ratio", "only the schedule cosine_with_min_lr uses it");
  const auto betas = rl.get<std::vector<double>>("betas", {0.9, 0.95});
  if (betas.size() != 2 || betas[0] < 0 || betas[0] >= 1 || betas[1] < 0 || betas[1] >= 1)
    rl.fail("betas", "must be two numbers in [0, 1), like [0.9, 0.95]");
  o.beta1 = betas[0];
  o.beta2 = betas[1];
  o.epsilon = rl.get_in<double>("adam_epsilon", 1e-8, 1e-30, 1);
  o.weight_decay = rl.get_in<double>("weight_decay", 0, 0, 10);
  o.decay_vectors = rl.get<bool>("decay_norms_and_biases", false);
  o.max_grad_norm = rl.get_in<double>("max_grad_norm", 1, 0, kHuge);
}

void read_advantage(ConfigReader section, GrpoOptions& grpo, TrainSampleOptions& samples) {
  samples.advantage.kind = choice(section, "kind", "group_zscore", parse_advantage_kind);
  grpo.whiten_advantages = section.get<bool>("whiten", false);
  const bool divides = samples.advantage.kind == AdvantageKind::kGroupZscore ||
                       samples.advantage.kind == AdvantageKind::kBatchStd || grpo.whiten_advantages;
  if (!divides) section.reject("epsilon", "this kind of advantage is not divided by a standard deviation");
  samples.advantage.epsilon = grpo.whiten_epsilon = section.get_in<double>("epsilon", 1e-6, 0, 1);
}

void read_loss(ConfigReader section, PolicyLossOptions& o) {
  o.surrogate = choice(section, "surrogate", "clip", parse_surrogate);
  o.ratio_level = choice(section, "ratio_level", "token", parse_ratio_level);
  o.aggregation = choice(section, "aggregation", "token_mean", parse_aggregation);
  if (o.surrogate == Surrogate::kClip) {
    o.clip_low = section.get_in<double>("clip_low", 0.2, 0, kHuge);
    o.clip_high = section.get_in<double>("clip_high", 0.28, 0, kHuge);
    o.dual_clip = section.get_in<double>("dual_clip", 0, 0, kHuge);
    if (o.dual_clip != 0 && o.dual_clip <= 1) section.fail("dual_clip", "must be above 1, or 0 for off");
  } else {
    for (const char* key : {"clip_low", "clip_high", "dual_clip"}) section.reject(key, "only the surrogate clip uses it");
  }
  if (o.surrogate == Surrogate::kCispo)
    o.cispo_ratio_cap = section.get_in<double>("cispo_ratio_cap", 5, 0, kHuge);
  else
    section.reject("cispo_ratio_cap", "only the surrogate cispo uses it");
}

void read_kl(ConfigReader section, GrpoOptions& o) {
  o.loss.kl_coefficient = section.get_in<double>("coefficient", 0.001, 0, kHuge);
  o.kl_in_reward = section.get_in<double>("in_reward", 0, 0, kHuge);
  if (o.loss.kl_coefficient != 0) {
    o.loss.kl_estimator = choice(section, "estimator", "k3", parse_kl_estimator);
    o.loss.kl_off_policy = section.get<bool>("off_policy", false);
  } else {
    for (const char* key : {"estimator", "off_policy"}) section.reject(key, "rl.kl.coefficient is 0");
  }
  if (o.needs_reference())
    o.reference_refresh = section.get_in<std::int64_t>("refresh_every", 0, 0, kMany);
  else
    section.reject("refresh_every", "there is no KL term, so no reference model");
}

void read_mismatch(ConfigReader section, GrpoOptions& o) {
  o.old_policy = choice(section, "old_policy", "recompute", parse_old_policy);
  if (o.old_policy == OldPolicy::kBehavior) {
    o.loss.mismatch = MismatchCorrection::kNone;
    for (const char* key : {"correction", "floor", "cap"})
      section.reject(key, "with old_policy: behavior the ratio holds the mismatch already");
    return;
  }
  o.loss.mismatch = choice(section, "correction", "token_tis", parse_mismatch_correction);
  if (o.loss.mismatch == MismatchCorrection::kNone) {
    for (const char* key : {"floor", "cap"}) section.reject(key, "rl.mismatch.correction is none");
    return;
  }
  o.loss.mismatch_floor = section.get_in<double>("floor", 0, 0, 1);
  o.loss.mismatch_cap = section.get_in<double>("cap", 2, 1, kHuge);
}

void read_dynamic(ConfigReader section, DynamicSamplingOptions& o) {
  o.enabled = section.get<bool>("enabled", false);
  if (o.enabled) {
    o.max_rounds = section.get_in<int>("max_rounds", 10, 1, 1000);
    o.oversample = section.get_in<double>("oversample", 1, 1, 100);
  } else {
    for (const char* key : {"max_rounds", "oversample"}) section.reject(key, "rl.dynamic_sampling.enabled is false");
  }
}

void read_rollout(ConfigReader section, TrainerOptions& o) {
  o.samples_per_prompt = section.get_in<int>("samples_per_prompt", 16, 1, 1 << 19);
  o.sampling.temperature = section.get_in<float>("temperature", 1.f, 1e-3f, 100.f);
  o.sampling.top_p = section.get_in<float>("top_p", 1.f, 1e-6f, 1.f);
  o.sampling.top_k = section.get_in<int>("top_k", 0, 0, 1 << 30);
  o.sampling.min_p = section.get_in<float>("min_p", 0.f, 0.f, 1.f);
  o.sampling.max_new_tokens = section.get_in<int>("max_new_tokens", 1024, 1, 1 << 30);
  o.sampling.stop_strings = section.get<std::vector<std::string>>("stop", {});
  o.sampling.want_entropy = true;
}

void read_eval(ConfigReader section, const TrainerOptions& trainer, std::int64_t& every, bool& at_start, EvalOptions& o) {
  every = section.get_in<std::int64_t>("every", 20, 0, kMany);
  at_start = section.get<bool>("at_start", true);
  o.greedy = section.get<bool>("greedy", true);
  o.samples = section.get_in<int>("samples", 4, 0, 100000);
  o.sampling = trainer.sampling;
  o.sampling.max_new_tokens = section.get_in<int>("max_new_tokens", trainer.sampling.max_new_tokens, 1, 1 << 30);
  if (o.samples > 0) {
    o.sampling.temperature = section.get_in<float>("temperature", trainer.sampling.temperature, 1e-3f, 100.f);
    o.sampling.top_p = section.get_in<float>("top_p", trainer.sampling.top_p, 1e-6f, 1.f);
    o.sampling.top_k = section.get_in<int>("top_k", trainer.sampling.top_k, 0, 1 << 30);
    o.pass_k = section.get<std::vector<int>>("pass_k", {});
    for (int k : o.pass_k)
      if (k < 1 || k > o.samples) section.fail("pass_k", message("holds ", k, ", but eval.samples is ", o.samples));
  } else {
    for (const char* key : {"temperature", "top_p", "top_k", "pass_k"}) section.reject(key, "eval.samples is 0");
  }
  if (!o.greedy && o.samples == 0) section.fail("samples", "is 0 and eval.greedy is false: nothing would be measured");
  o.seed = trainer.seed;
}

}  // namespace

RlRecipe read_rl_recipe(ConfigReader& root) {
  RlRecipe r;
  TrainerOptions& t = r.trainer;
  t.seed = r.grpo.seed = root.get<std::uint64_t>("seed", 0);
  ConfigReader rl = root.section("rl");
  rl.get<std::string>("preset", "");
  t.steps = rl.get_in<std::int64_t>("steps", 200, 1, kMany);
  t.prompts_per_rollout = rl.get_in<int>("prompts_per_rollout", 32, 1, 1 << 24);
  r.grpo.updates_per_rollout = rl.get_in<int>("updates_per_rollout", 1, 1, 1 << 16);
  r.grpo.passes_per_rollout = rl.get_in<int>("passes_per_rollout", 1, 1, 1 << 16);
  read_optimizer(rl, r.grpo.optimizer, t.steps);
  read_advantage(rl.section("advantage"), r.grpo, t.train_samples);
  read_loss(rl.section("loss"), r.grpo.loss);
  read_kl(rl.section("kl"), r.grpo);
  r.grpo.loss.entropy_coefficient = rl.section("entropy").get_in<double>("coefficient", 0, -1, 1);
  read_mismatch(rl.section("mismatch"), r.grpo);
  read_dynamic(rl.section("dynamic_sampling"), t.dynamic);
  t.train_samples.overlong_filter = rl.get<bool>("overlong_filter", false);
  t.reward_threads = rl.get_in<int>("reward_threads", 1, 1, 1024);

  ConfigReader rollout = root.section("rollout");
  read_rollout(rollout, t);
  if (t.dynamic.enabled && t.samples_per_prompt < 2)
    rollout.fail("samples_per_prompt", "must be at least 2 with rl.dynamic_sampling: one sample is never mixed");
  if (t.samples_per_prompt < 2 && t.train_samples.advantage.kind == AdvantageKind::kRloo)
    rollout.fail("samples_per_prompt", "must be at least 2 for rl.advantage.kind rloo");
  r.grpo.temperature = t.sampling.temperature;
  r.grpo.length_budget = t.sampling.max_new_tokens;

  ConfigReader train = root.section("train");
  r.grpo.tokens_per_micro_batch = train.get_in<std::int64_t>("tokens_per_micro_batch", 8192, 1, kMany);
  r.gradient_checkpointing = train.get<bool>("gradient_checkpointing", true);
  read_eval(root.section("eval"), t, t.eval_every, t.eval_at_start, t.eval);
  ConfigReader output = root.section("output");
  t.save_every = output.get_in<std::int64_t>("save_every", 50, 0, kMany);
  r.keep_checkpoints = output.get_in<int>("keep", 3, 0, 1 << 20);
  r.samples_every = output.get_in<std::int64_t>("samples_every", 10, 0, kMany);
  return r;
}

}  // namespace r1
