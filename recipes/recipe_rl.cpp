// The sections rollout: and rl:.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <vector>

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

// The surrogate's own options stand under `rl:`; those of the others have no effect there.
void read_surrogate(ConfigReader& rl, PolicyLossOptions& l) {
  const auto choose = [](const std::string& name) { return SurrogateChoice(name); };
  l.surrogate = read_name(rl, "surrogate", "clip", choose);
  const Surrogate& chosen = l.surrogate.entry();
  for (const SurrogateOption& o : chosen.options) l.surrogate.set(o.key, rl.get_in<double>(o.key, o.fallback, o.low, o.high));
  if (chosen.check)
    if (const auto wrong = chosen.check(l.surrogate.values())) rl.fail(wrong->first, wrong->second);
  std::map<std::string_view, std::vector<std::string>> owners;
  for (const Surrogate* s : surrogates())
    for (const SurrogateOption& o : s->options) owners[o.key].emplace_back(s->name);
  for (const SurrogateOption& o : chosen.options) owners.erase(o.key);
  for (const auto& [key, names] : owners) rl.reject(key, "it belongs to surrogate: " + join_names(names));
  if (chosen.token) l.ratio_level = read_name(rl, "ratio_level", "token", parse_ratio_level);
  else rl.reject("ratio_level", message("surrogate ", chosen.name, " has a ratio of its own"));
}

void read_entropy(ConfigReader& rl, Recipe& recipe) {
  GrpoOptions& g = recipe.learner;
  ConfigReader adaptive = rl.section("adaptive_entropy");
  g.adaptive_entropy.enabled = adaptive.get<bool>("enabled", false);
  if (g.adaptive_entropy.enabled) {
    g.adaptive_entropy.target = adaptive.get_in<double>("target", 0.2, 0.0, 100.0);
    g.adaptive_entropy.step = adaptive.get_in<double>("step", 0.005, 0.0, 10.0);
    g.loss.entropy_coefficient = adaptive.get_in<double>("start", 0.01, 0.0, 10.0);
    rl.reject("entropy_coefficient", "adaptive_entropy is enabled: its start and step decide");
  } else {
    for (const char* key : {"target", "step", "start"}) adaptive.reject(key, "adaptive_entropy.enabled is false");
    g.loss.entropy_coefficient = rl.get_in<double>("entropy_coefficient", 0.0, -10.0, 10.0);
  }
  g.want_entropy = g.adaptive_entropy.enabled || g.loss.entropy_coefficient != 0;

  TokenSelectionOptions& s = g.selection;
  s.top_entropy_quantile = rl.get_in<double>("top_entropy_quantile", 1.0, 0.0, 1.0);
  if (s.top_entropy_quantile == 0) rl.fail("top_entropy_quantile", "is 0: no token would be trained; 0.2 trains the fifth of highest entropy");
  ConfigReader cov = rl.section("covariance");
  s.covariance = read_name(cov, "method", "none", parse_covariance_control);
  if (s.covariance == CovarianceControl::kNone) cov.reject("share", "covariance.method is none");
  else s.covariance_share = cov.get_in<double>("share", 2e-4, 0.0, 1.0);
  if (s.covariance == CovarianceControl::kClipCov) {
    s.covariance_low = cov.get_in<double>("low", 1.0, -1e6, 1e6);
    s.covariance_high = cov.get_in<double>("high", 5.0, -1e6, 1e6);
    if (s.covariance_low >= s.covariance_high) cov.fail("low", message("must be below high (", s.covariance_high, ")"));
  } else {
    for (const char* key : {"low", "high"}) cov.reject(key, "it belongs to covariance.method: clip_cov");
  }
  if (s.covariance == CovarianceControl::kKlCov) s.covariance_penalty = cov.get_in<double>("penalty", 1.0, 0.0, 1e6);
  else cov.reject("penalty", "it belongs to covariance.method: kl_cov");
}

void read_kl(ConfigReader kl, Recipe& recipe) {
  GrpoOptions& g = recipe.learner;
  PolicyLossOptions& l = g.loss;
  l.kl_coefficient = kl.get_in<double>("coefficient", 0.0, 0.0, 1e3);
  g.kl_in_reward = kl.get_in<double>("in_reward", 0.0, 0.0, 1e3);
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
  if (g.kl_in_reward != 0) g.adaptive_kl.target = kl.get_in<double>("target", 0.0, 0.0, 1e3);
  else kl.reject("target", "kl.in_reward is 0; the adaptive coefficient is that of kl.in_reward");
  if (g.adaptive_kl.target > 0) g.adaptive_kl.horizon = kl.get_in<double>("horizon", 10000.0, 1.0, 1e12);
  else kl.reject("horizon", "kl.target is 0: the coefficient does not change");
  if (g.needs_reference()) g.reference_refresh = kl.get_in<std::int64_t>("reference_refresh", 0, 0, kMaxSteps);
  else kl.reject("reference_refresh", "kl.coefficient and kl.in_reward are 0, so there is no reference model");
}

void read_mismatch(ConfigReader mismatch, Recipe& recipe) {
  PolicyLossOptions& l = recipe.learner.loss;
  recipe.learner.old_policy = read_name(mismatch, "old_policy", "recompute", parse_old_policy);
  if (recipe.learner.old_policy == OldPolicy::kBehavior) {
    for (const char* key : {"correction", "cap", "floor", "normalize"})
      mismatch.reject(key, "with old_policy: behavior the ratio holds the mismatch already");
    l.mismatch = MismatchOptions("none");
    return;
  }
  const auto choose = [](const std::string& name) { return MismatchOptions(name); };
  MismatchOptions& m = l.mismatch = read_name(mismatch, "correction", "token_tis", choose);
  if (!m.method->weigh) {
    for (const char* key : {"cap", "floor", "normalize"}) mismatch.reject(key, "correction is none");
    return;
  }
  m.cap = mismatch.get_in<double>("cap", m.cap, 1e-6, 1e6);
  if (m.method->has_floor) m.floor = mismatch.get_in<double>("floor", m.floor, 0.0, 1e6);
  else mismatch.reject("floor", message("correction ", m.method->name, " has a cap alone"));
  if (m.floor > m.cap) mismatch.fail("floor", message("must not be above cap (", m.cap, ")"));
  m.normalize = mismatch.get<bool>("normalize", false);
}

void read_loss(ConfigReader& rl, Recipe& recipe) {
  PolicyLossOptions& l = recipe.learner.loss;
  read_surrogate(rl, l);
  l.aggregation = read_name(rl, "aggregation", "token_mean", parse_aggregation);
  l.off_policy_mask_threshold = rl.get_in<double>("off_policy_mask_threshold", 0.0, 0.0, 1e6);
  read_entropy(rl, recipe);
  read_kl(rl.section("kl"), recipe);
  read_mismatch(rl.section("mismatch"), recipe);
}

// advantage.kind gae: PPO's critic, and its own section.
void read_critic(ConfigReader& rl, ConfigReader& advantage, Recipe& recipe) {
  ConfigReader reader = rl.section("critic");
  if (recipe.trainer.train_samples.advantage.kind != AdvantageKind::kGae) {
    for (const char* key : {"gamma", "lambda"}) advantage.reject(key, "it belongs to advantage.kind: gae");
    for (const char* key : {"learning_rate", "value_clip", "warmup_updates"})
      reader.reject(key, "only advantage.kind: gae has a critic");
    return;
  }
  CriticOptions& c = recipe.learner.critic.emplace();
  c.gamma = advantage.get_in<double>("gamma", 1.0, 0.0, 1.0);
  c.lambda = advantage.get_in<double>("lambda", 1.0, 0.0, 1.0);
  c.optimizer = recipe.learner.optimizer;  // betas, decay, schedule, clipping: the policy's
  c.optimizer.learning_rate.peak = reader.get_in<double>("learning_rate", 10 * c.optimizer.learning_rate.peak, 0.0, 10.0);
  if (c.optimizer.learning_rate.peak == 0) reader.fail("learning_rate", "is 0: the critic would not learn");
  c.value_clip = reader.get_in<double>("value_clip", 0.2, 0.0, 1e6);
  c.warmup = reader.get_in<std::int64_t>("warmup_updates", 0, 0, kMaxSteps);
  if (c.warmup >= recipe.trainer.steps)
    reader.fail("warmup_updates", message("= ", c.warmup, " is not below rl.steps = ", recipe.trainer.steps, ": the policy would never learn"));
}

void read_advantage(ConfigReader& rl, Recipe& recipe) {
  TrainerOptions& t = recipe.trainer;
  ConfigReader a = rl.section("advantage");
  t.train_samples.advantage.kind = read_name(a, "kind", "group_zscore", parse_advantage_kind);
  const AdvantageKind kind = t.train_samples.advantage.kind;
  if (divides_by_std(kind)) {
    t.train_samples.advantage.epsilon = a.get_in<double>("epsilon", 1e-6, 0.0, 1.0);
  } else {
    a.reject("epsilon", message("advantage.kind ", to_string(kind), " divides by no standard deviation"));
  }
  recipe.learner.whiten_advantages = a.get<bool>("whiten", false);
  if (recipe.learner.whiten_advantages)
    recipe.learner.whiten_epsilon = a.get_in<double>("whiten_epsilon", 1e-6, 0.0, 1.0);
  else a.reject("whiten_epsilon", "advantage.whiten is off");

  if (kind == AdvantageKind::kGdpo) {
    t.train_samples.advantage.batch_normalize = a.get<bool>("batch_normalize", true);
    for (const Rubric::Entry& e : recipe.rubric->entries()) t.train_samples.advantage.weights[e.label] = e.weight;
  } else {
    a.reject("batch_normalize", "it belongs to advantage.kind: gdpo");
  }
  read_critic(rl, a, recipe);

  const bool baseline = kind != AdvantageKind::kNone && kind != AdvantageKind::kGae;
  if (baseline && t.samples_per_prompt < 2) {
    rl.fail("advantage",
            message("= ", to_string(kind), " compares the samples of a prompt, but rollout.samples_per_prompt is ",
                    t.samples_per_prompt, "; use at least 2, or advantage.kind: none"));
  }
}

// rollout.engine, and how its servers are reached.
void read_servers(ConfigReader& rollout, GrpcEngineOptions& o) {
  const auto engine = rollout.get<std::string>("engine", "local");
  if (engine == "local") return rollout.reject("grpc", "rollout.engine is local");
  std::string far;  // an address that is not this machine's
  try {
    o.servers = parse_grpc_servers(engine);
    for (const std::string& address : o.servers)
      if (!is_loopback_address(address)) far = address;
  } catch (const ConfigError& e) {
    rollout.fail("engine", e.what());
  }
  ConfigReader grpc = rollout.section("grpc");
  o.tls = read_grpc_tls(grpc, far.empty() ? o.servers.front() : far, far.empty(), "tls");
  if (const auto variable = grpc.get<std::string>("token_env", ""); !variable.empty()) {
    const char* token = std::getenv(variable.c_str());
    if (token == nullptr || *token == 0) grpc.fail("token_env", message("= ", variable, ": the variable is not set"));
    o.token = token;
  } else if (!far.empty()) {
    grpc.fail("token_env", message("is needed: '", far, "' is not this machine; set it to the name of the variable with the token of r1 serve --token-env"));
  }
  o.start_timeout_s = grpc.get_in<double>("start_timeout", o.start_timeout_s, 0.001, 86'400);
  o.call_timeout_s = grpc.get_in<double>("call_timeout", o.call_timeout_s, 0.001, 604'800);
  o.stall_timeout_s = grpc.get_in<double>("stall_timeout", o.stall_timeout_s, 0.001, 86'400);
  o.weights_timeout_s = grpc.get_in<double>("weights_timeout", o.weights_timeout_s, 0.001, 86'400);
  o.retries = grpc.get_in<int>("retries", o.retries, 0, 10'000);
  const std::string weights = grpc.get_choice("weights", "auto", kWeightChoices);
  if (weights != "auto") o.weights = static_cast<WeightWay>(std::find(kWeightChoices.begin(), kWeightChoices.end(), weights) - kWeightChoices.begin() - 1);
  o.max_message_mb = grpc.get_in<int>("max_message_mb", o.max_message_mb, 1, 1024);
}

// max_staleness and async: rollout and learning side by side (docs/asynchronous.md).
void read_async(ConfigReader& rl, Recipe& recipe) {
  AsyncOptions& a = recipe.trainer.async;
  a.max_staleness = rl.get_in<std::int64_t>("max_staleness", 0, 0, 1000);
  recipe.learner.stale_samples = a.max_staleness > 0;
  ConfigReader async = rl.section("async");
  if (a.max_staleness == 0) {
    for (const char* key : {"mode", "keep_kv", "patience_s"}) async.reject(key, "rl.max_staleness is 0: rollout and learning take turns");
    return;
  }
  a.free_running = async.get_choice("mode", "deterministic", std::array<std::string, 2>{"deterministic", "free"}) == "free";
  a.patience_s = async.get_in<double>("patience_s", 3600.0, 1.0, 1e7);
  if (a.free_running) recipe.engine.recompute_on_new_weights = !async.get<bool>("keep_kv", false);
  else async.reject("keep_kv", "async.mode is deterministic: weights do not change within a rollout");
  if (!recipe.grpc.servers.empty()) async.reject("keep_kv", "rollout.engine has servers: they compute unfinished answers again");
  if (recipe.learner.old_policy == OldPolicy::kRecompute && !recipe.learner.loss.mismatch.method->weigh)
    recipe.warnings.push_back(message("rl.max_staleness = ", a.max_staleness, " with rl.mismatch.correction: none trains on samples of older weights "
                                      "as if the present ones had drawn them; token_tis (the default) corrects for that"));
}

void read_early_stop(ConfigReader early, Recipe& recipe) {
  EarlyStopOptions& e = recipe.trainer.early_stop;
  e.enabled = early.get<bool>("enabled", false);
  if (!e.enabled) return early.reject("oversample", "early_stop.enabled is false");
  e.oversample = early.get_in<double>("oversample", 1.25, 1.0, 100.0);
  if (recipe.trainer.dynamic.enabled)
    early.fail("enabled", "and rl.dynamic_sampling.enabled both sample more prompts than are trained on; enable one of them");
  recipe.warnings.push_back("rl.early_stop keeps the groups whose longest answer is shortest: short answers are trained on more often than they are "
                            "drawn (watch early_stop/*_length)");
}

}  // namespace

void read_rollout(ConfigReader reader, Recipe& recipe) {
  TrainerOptions& t = recipe.trainer;
  read_servers(reader, recipe.grpc);
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
  recipe.gpu_memory_gb = reader.get_in<double>("gpu_memory_gb", 0.0, 0.0, 1e6);
  if (recipe.gpu_memory_gb > 0 && recipe.gpu_memory_gb < 0.5) reader.fail("gpu_memory_gb", "is below 0.5; leave it out for all that the GPU has");
  if (recipe.model.device == "cpu")
    for (const char* key : {"gpu_memory_share", "gpu_memory_gb"}) reader.reject(key, "model.device is cpu");
  e.prefix_cache = reader.get<bool>("prefix_cache", true);
  e.speculative = reader.get_choice("speculative", "off", std::array<std::string, 2>{"off", "mtp"}) == "mtp";
  if (e.speculative && recipe.model.device != "cpu") reader.fail("speculative", "mtp works on the CPU only; set model.device: cpu or leave it off");
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
  ConfigReader router = rl.section("router");
  g.router.replay = router.get<bool>("replay", false);
  g.router.balance_loss = router.get_in<double>("balance_loss", 0.0, 0.0, 100.0);
  g.router.bias_update = router.get_in<double>("bias_update", 0.0, 0.0, 1.0);
  t.sampling.want_experts = g.router.replay;
  read_early_stop(rl.section("early_stop"), recipe);
  read_async(rl, recipe);
  g.temperature = t.sampling.temperature;
  g.length_budget = t.sampling.max_new_tokens;
  if (g.updates_per_rollout * g.passes_per_rollout == 1 && g.loss.surrogate.entry().name == "clip" &&
      (rl.set_by("clip_low") == Origin::Kind::kRecipe || rl.set_by("clip_high") == Origin::Kind::kRecipe) &&
      g.old_policy == OldPolicy::kRecompute) {
    recipe.warnings.push_back(
        "rl.clip_low and clip_high have no effect: with one update a rollout the ratio is exactly 1");
  }
}

}  // namespace r1::detail
