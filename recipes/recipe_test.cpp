#include "recipes/recipe.h"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "core/error.h"
#include "core/files.h"
#include "recipes/presets.h"
#include "tests/support/errors.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

using Strings = std::vector<std::string>;

const char* kGood = R"(model: {path: some/model}
data: {generate: {task: add, level: 2, n: 100}}
rollout: {samples_per_prompt: 8, max_new_tokens: 40}
rewards: [{name: math}]
rl: {steps: 10}
)";

Recipe good(const Strings& overrides = {}) { return parse_recipe(kGood, "recipes/try.yaml", overrides); }

using test::contains;
using test::error_of;

std::string error_of_setting(const Strings& overrides) {
  return error_of([&] { good(overrides); });
}
TEST_CASE("defaults") {
  const Recipe r = good();
  CHECK(r.name == "try");
  CHECK(r.output.dir == "runs/try");
  CHECK(r.model.dtype == DType::kBF16);
  CHECK(r.data.generate->split == "train");
  CHECK(r.trainer.prompts_per_rollout == 32);
  CHECK(r.trainer.sampling.temperature == 1.f);
  CHECK(r.learner.loss.aggregation == Aggregation::kTokenMean);
  CHECK(r.learner.loss.surrogate.get("clip_low") == 0.2);
  CHECK(r.learner.loss.surrogate.get("clip_high") == 0.28);
  CHECK_FALSE(r.learner.needs_reference());
  CHECK(r.learner.length_budget == 40);
  CHECK(r.learner.optimizer.learning_rate.peak == 1e-6);
  CHECK(r.learner.optimizer.learning_rate.warmup == 10);
  CHECK(r.learner.optimizer.learning_rate.total == 10);
  CHECK(r.learner.optimizer.weight_decay == 0);
  CHECK(r.trainer.train_samples.advantage.epsilon == 1e-6);
  CHECK_FALSE(r.eval_data.has_value());
  CHECK(r.trainer.eval_every == 0);
  CHECK(r.warnings.empty());
  CHECK(r.rubric->entries().size() == 1);
  CHECK(r.trainer.config_digest.size() == 32);
}

TEST_CASE("the recipes of this folder") {
  const std::filesystem::path dir = std::filesystem::path(R1_SOURCE_DIR) / "recipes";
  const Recipe quick = load_recipe(dir / "quickstart.yaml");
  CHECK(quick.trainer.prompts_per_rollout == 32);
  CHECK(quick.trainer.samples_per_prompt == 8);
  CHECK(quick.trainer.sampling.max_new_tokens == 40);
  CHECK(quick.learner.optimizer.learning_rate.peak == 3e-5);
  CHECK(quick.learner.optimizer.max_grad_norm == 1);
  CHECK(quick.learner.updates_per_rollout == 1);
  CHECK_FALSE(quick.learner.needs_reference());
  CHECK(quick.eval_data->generate->rows == 300);
  CHECK(quick.eval_data->generate->distinct);
  CHECK(quick.eval_data->generate->split == "test");
  CHECK(quick.warnings.empty());
  // The quick start's reward: the last number is right and the answer ended.
  SampleGroup g;
  g.prompt.reference = "82";
  g.completions.resize(2);
  for (Completion& c : g.completions) c.text = "37 + 45 = 82";
  g.completions[0].stop = StopReason::kEos;
  g.completions[1].stop = StopReason::kLength;
  const auto scores = quick.rubric->score(g);
  CHECK(scores[0].value == 1.f);
  CHECK(scores[1].value == 0.f);

  test::TempDir tmp;
  const std::string file = (tmp / "rows.jsonl").string();
  write_file_atomic(file, "{}\n");
  const Strings files = {"data.path=" + file, "eval.data=" + file};
  const Recipe zero = load_recipe(dir / "r1_zero.yaml", files);
  CHECK(zero.data.format == "r1_zero");
  CHECK(zero.learner.loss.kl_coefficient == 0.001);
  CHECK(zero.learner.reference_refresh == 400);
  CHECK(zero.learner.loss.surrogate.get("clip_high") == 10);
  CHECK(zero.learner.loss.aggregation == Aggregation::kSeqMeanTokenMean);
  CHECK(zero.trainer.prompts_per_rollout == 64);
  CHECK(zero.learner.optimizer.weight_decay == 0.1);
  CHECK(zero.rubric->entries()[1].weight == 0.2f);
  CHECK(zero.warnings.empty());
  const Recipe gsm = load_recipe(dir / "gsm8k.yaml", files);
  CHECK(contains(gsm.data.instruction, "\\boxed{}"));
  CHECK(gsm.eval_data->limit == 660);
  CHECK(gsm.warnings.empty());
}

TEST_CASE("presets: published values, below the recipe's own") {
  const auto preset = [](const std::string& name, Strings more = {}) {
    more.insert(more.begin(), "rl.preset=" + name);
    return good(more);
  };
  CHECK(preset("r1_zero").trainer.prompts_per_rollout == 512);
  CHECK(preset("r1_zero").learner.updates_per_rollout == 16);
  CHECK(preset("r1_zero").learner.optimizer.learning_rate.peak == 3e-6);
  CHECK(preset("r1_zero").trainer.samples_per_prompt == 8);  // the recipe's
  CHECK(preset("r1_zero", {"rl.learning_rate=5e-7"}).learner.optimizer.learning_rate.peak == 5e-7);
  CHECK(preset("r1_zero", {"rl.kl.coefficient=0"}).learner.reference_refresh ==
        0);  // the preset's rest of kl falls silent
  CHECK(preset("deepseekmath").learner.loss.kl_coefficient == 0.04);
  const Recipe dapo = preset("dapo");
  CHECK(dapo.learner.loss.surrogate.get("clip_high") == 0.28);
  CHECK(dapo.trainer.dynamic.enabled);
  CHECK(dapo.trainer.dynamic.oversample == 3.0);
  CHECK(dapo.rubric->entries().size() == 1);  // the recipe's rewards replace the preset's
  const Recipe bare =
      parse_recipe("model: {path: m}\ndata: {generate: {task: add, n: 9}}\nrl: {preset: dapo}\n", "d.yaml");
  REQUIRE(bare.rubric->entries().size() == 2);
  CHECK(bare.rubric->entries()[1].label == "overlong");
  const Recipe dr = preset("dr_grpo");
  CHECK(dr.learner.loss.aggregation == Aggregation::kSeqMeanTokenSumNorm);
  CHECK(dr.trainer.train_samples.advantage.kind == AdvantageKind::kGroupMean);
  const Recipe ppo = preset("ppo");
  REQUIRE(ppo.learner.critic);
  CHECK(ppo.learner.critic->gamma == 1);
  CHECK(ppo.learner.critic->lambda == 1);
  CHECK(ppo.learner.critic->value_clip == 0.2);
  CHECK(ppo.learner.critic->optimizer.learning_rate.peak == 1e-5);
  CHECK(ppo.learner.kl_in_reward == 0.001);
  CHECK(ppo.learner.whiten_advantages);
  CHECK(ppo.trainer.train_samples.advantage.kind == AdvantageKind::kGae);
  CHECK(good({"rl.advantage.kind=gae", "rl.learning_rate=3e-6"}).learner.critic->optimizer.learning_rate.peak == doctest::Approx(3e-5));
  CHECK(preset("gmpo").learner.loss.surrogate.get("clip_low") == 0.4);
  CHECK(preset("sapo").learner.loss.surrogate.get("sapo_tau_neg") == 1.05);
  CHECK(preset("intellect2").learner.loss.surrogate.get("dual_clip") == 4);
  CHECK(preset("lite_ppo").trainer.train_samples.advantage.kind == AdvantageKind::kBatchStd);
  CHECK(preset("gdpo", {"rewards=[{name: math, weight: 2}, {name: format}]"}).trainer.train_samples.advantage.weights ==
        std::map<std::string, double>{{"math", 2.0}, {"format", 1.0}});
  CHECK(preset("reinforce_pp_baseline").learner.loss.kl_estimator == KlEstimator::kK2);
  CHECK(preset("reinforce_pp_baseline").trainer.train_samples.advantage.kind == AdvantageKind::kGroupMean);
  CHECK(preset("skywork_or1").learner.adaptive_entropy.step == 0.005);
  CHECK(preset("skywork_or1").learner.loss.entropy_coefficient == 0.01);
  CHECK(preset("high_entropy").learner.selection.top_entropy_quantile == 0.2);
  CHECK(preset("clip_cov").learner.selection.covariance_share == 2e-4);
  CHECK(preset("kl_cov").learner.selection.covariance == CovarianceControl::kKlCov);
  CHECK(preset("icepop").learner.loss.mismatch.cap == 5);
  CHECK(preset("deepseek_v32").learner.loss.off_policy_mask_threshold == 0.5);
  CHECK(good({"rl.mismatch.correction=geometric_mask"}).learner.loss.mismatch.floor == 0.999);
  CHECK(good({"rl.mismatch.correction=token_mis"}).learner.loss.mismatch.floor == 0.5);
  for (const Preset& p : presets()) {
    CAPTURE(p.name);
    const Recipe r = preset(std::string(p.name));
    CHECK(r.resolved.has_value());
    bool marked = false;
    for (const auto& line : r.resolved->lines()) marked = marked || line.origin.kind == Origin::Kind::kPreset;
    CHECK(marked);
  }
  CHECK(contains(error_of_setting({"rl.preset=r1_zer"}), "did you mean 'r1_zero'"));
}

TEST_CASE("one clear error for each mistake") {
  struct Row {
    Strings settings;
    Strings parts;
  };
  const std::vector<Row> rows = {
      {{"rl.leaning_rate=1e-6"}, {"rl.leaning_rate", "did you mean 'rl.learning_rate'"}},  // wrong key
      {{"steps=10"}, {"'steps'", "rl.steps"}},                                             // right key, wrong section
      {{"rl.steps=many"}, {"rl.steps", "many"}},                                           // wrong type
      {{"rollout.temperature=warm"}, {"rollout.temperature", "warm"}},
      {{"rl=5"}, {"'rl'", "section"}},
      {{"rl.steps=0"}, {"rl.steps", "1"}},  // out of range
      {{"rl.learning_rate=-1"}, {"rl.learning_rate"}},
      {{"rl.learning_rate=0"}, {"nothing would be learnt"}},
      {{"rollout.samples_per_prompt=0"}, {"rollout.samples_per_prompt"}},
      {{"rollout.temperature=0"}, {"rollout.temperature", "use 1.0"}},
      {{"rollout.top_p=0"}, {"top_p"}},
      {{"rollout.max_new_tokens=0"}, {"max_new_tokens"}},
      {{"rollout.stop=['']"}, {"stop"}},
      {{"rl.aggregation=mean"},
       {"command line", "rl.aggregation", "is 'mean'; it can be seq_mean_token_mean, token_mean"}},  // unknown choice
      {{"rl.advantage.kind=zscore"}, {"advantage", "group_zscore"}},
      {{"model.device=gpu"}, {"model.device", "cuda"}},
      {{"train.numerics=fast_enough"}, {"train.numerics", "exact"}},
      {{"train.numerics=exact", "rollout.top_k=5"}, {"train.numerics", "rollout.top_k"}},
      {{"model.device=cpu", "rollout.gpu_memory_share=0.5"}, {"rollout.gpu_memory_share", "model.device is cpu"}},
      {{"model.device=cpu", "rollout.gpu_memory_gb=80"}, {"rollout.gpu_memory_gb", "model.device is cpu"}},
      {{"rollout.gpu_memory_gb=0.1"}, {"rollout.gpu_memory_gb", "0.5"}},
      {{"model.device=cpu", "train.moments=8bit"}, {"train.moments", "model.device is cpu"}},
      {{"lora.rank=4", "train.moments=8bit"}, {"train.moments", "lora is set"}},
      {{"train.moments=4bit"}, {"train.moments", "8bit"}},
      {{"train.master=half"}, {"train.master", "split"}},
      {{"train.gradients=float16"}, {"train.gradients", "bfloat16"}},
      {{"model.dtype=int8"}, {"model.dtype", "bfloat16"}},
      {{"kind=ppo"}, {"kind", "grpo"}},
      {{"rollout.engine=vllm"}, {"rollout.engine", "local"}},
      {{"rollout.engine=grpc://127.0.0.1"}, {"rollout.engine", "HOST:PORT"}},
      {{"rollout.engine=grpc://127.0.0.1:5,127.0.0.1:5"}, {"rollout.engine", "twice"}},
      {{"rollout.engine=grpc://10.0.0.1:5"}, {"rollout.grpc.tls", "10.0.0.1:5"}},
      {{"rollout.engine=grpc://10.0.0.1:5", "rollout.grpc.tls={ca: system}"}, {"rollout.grpc.token_env", "10.0.0.1:5"}},
      {{"rollout.engine=grpc://127.0.0.1:5", "rollout.grpc.token_env=R1_NO_SUCH_VARIABLE"}, {"rollout.grpc.token_env", "not set"}},
      {{"rollout.grpc.retries=3"}, {"rollout.grpc", "local"}},
      {{"model.path=~"}, {"model.path"}},  // required
      {{"data.generate=~"}, {"data.path"}},
      {{"data.generate.task=~"}, {"data.generate.task"}},
      {{"rewards=[]"}, {"rewards", "empty"}},
      {{"rewards=[mth]"}, {"did you mean 'math'"}},
      {{"rewards=[{name: math, weight: 0}]"}, {"every weight is 0"}},
      {{"rewards=[{name: math, extract: boxes}]"}, {"extract", "boxed"}},
      {{"rewards=[{name: math, require_ends: true}]"}, {"require_ends", "require_end"}},
      // Contradictions.
      {{"rollout.samples_per_prompt=1"}, {"compares the samples", "at least 2"}},
      {{"rl.updates_per_rollout=1000"}, {"more than the 256 completions"}},
      {{"rl.lr_schedule=cosine", "rl.warmup_steps=10"}, {"warmup_steps", "rl.steps = 10"}},
      {{"data.path=x.jsonl"}, {"both set"}},
      {{"rl.dynamic_sampling.enabled=true", "rollout.samples_per_prompt=1", "rl.advantage.kind=none"},
       {"dynamic_sampling", "at least 2"}},
      {{"rl.mismatch.floor=3"}, {"floor", "cap"}},
      {{"rl.mismatch.correction=tis"}, {"it can be none, token_tis", "k3_mask"}},
      {{"rl.surrogate=ppo"}, {"it can be cispo, clip, gmpo, ratio, sapo"}},
      {{"rl.dual_clip=0.5"}, {"rl.dual_clip", "above 1"}},
      {{"rl.top_entropy_quantile=0"}, {"no token would be trained"}},
      {{"rl.covariance.method=cov"}, {"clip_cov"}},
      {{"rl.covariance.method=clip_cov", "rl.covariance.low=9"}, {"low", "high"}},
      {{"rl.advantage.kind=gae", "rl.critic.learning_rate=0"}, {"critic would not learn"}},
      {{"rl.advantage.kind=gae", "rl.critic.warmup_updates=10"}, {"warmup_updates", "never learn"}},
      {{"eval.generate={task: add, n: 10}", "eval.pass_k=[8]"}, {"pass_k", "samples"}},
      {{"eval.generate={task: add, n: 10}", "eval.greedy=false", "eval.samples=0"}, {"nothing would be evaluated"}},
      {{"eval.generate={task: add, n: 10}", "eval.temperature=0"}, {"temperature", "greedy"}},
      {{"rewards=[math, format]", "rollout.stop=[</answer>]"}, {"stop_closes_answer"}},
      // Keys without effect.
      {{"rl.kl.estimator=k2"}, {"no effect", "kl.coefficient is 0"}},
      {{"rl.kl.reference_refresh=400"}, {"no effect", "no reference"}},
      {{"rl.min_lr_ratio=0.1"}, {"no effect", "cosine_with_min_lr"}},
      {{"rl.surrogate=ratio", "rl.clip_low=0.1"}, {"no effect", "surrogate: clip"}},
      {{"rl.cispo_ratio_cap=3"}, {"no effect", "cispo"}},
      {{"rl.surrogate=ratio", "rl.clip_high=0.1"}, {"no effect", "surrogate: clip and gmpo"}},
      {{"rl.sapo_tau_neg=2"}, {"no effect", "surrogate: sapo"}},
      {{"rl.surrogate=gmpo", "rl.dual_clip=3"}, {"no effect", "surrogate: clip"}},
      {{"rl.surrogate=gmpo", "rl.ratio_level=sequence"}, {"no effect", "ratio of its own"}},
      {{"rl.advantage.lambda=0.9"}, {"no effect", "advantage.kind: gae"}},
      {{"rl.critic.learning_rate=1e-5"}, {"no effect", "gae has a critic"}},
      {{"rl.advantage.batch_normalize=false"}, {"no effect", "gdpo"}},
      {{"rl.advantage.kind=gae", "rl.advantage.epsilon=1e-4"}, {"no effect"}},
      {{"rl.kl.target=0.1"}, {"no effect", "kl.in_reward is 0"}},
      {{"rl.kl.in_reward=0.1", "rl.kl.horizon=9"}, {"no effect", "kl.target is 0"}},
      {{"rl.adaptive_entropy.target=1"}, {"no effect", "enabled is false"}},
      {{"rl.adaptive_entropy.enabled=true", "rl.entropy_coefficient=0.1"}, {"no effect", "adaptive_entropy"}},
      {{"rl.covariance.share=0.1"}, {"no effect", "method is none"}},
      {{"rl.covariance.method=kl_cov", "rl.covariance.low=1"}, {"no effect", "clip_cov"}},
      {{"rl.covariance.method=clip_cov", "rl.covariance.penalty=1"}, {"no effect", "kl_cov"}},
      {{"rl.mismatch.correction=k3_mask", "rl.mismatch.floor=0.1"}, {"no effect", "cap alone"}},
      {{"rl.mismatch.correction=none", "rl.mismatch.normalize=true"}, {"no effect", "correction is none"}},
      {{"rl.dynamic_sampling.max_rounds=3"}, {"no effect"}},
      {{"rl.advantage.kind=group_mean", "rl.advantage.epsilon=1e-4"}, {"no effect"}},
      {{"rl.mismatch.old_policy=behavior", "rl.mismatch.cap=3"}, {"no effect"}},
      {{"eval.every=5"}, {"no effect", "eval has no data"}},
      {{"data.answer=gold"}, {"no effect", "generated rows"}},
      {{"data.template=none", "data.system_prompt=Be brief."}, {"no effect", "chat templates"}},
      {{"data.template=r1_zeo"}, {"data.template", "did you mean 'r1_zero'"}},
      {{"data.template=file"}, {"data.template_file"}},
      {{"data.template=file", "data.template_file=nowhere.txt"}, {"does not exist"}},
      {{"output.dir=''"}, {"output.dir"}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.settings[0]);
    const std::string error = error_of_setting(row.settings);
    for (const std::string& part : row.parts) CHECK(contains(error, part));
  }
}

TEST_CASE("errors name the line of the recipe") {
  const std::string error =
      error_of([] { parse_recipe(std::string(kGood) + "train:\n  treads: 2\n", "recipes/try.yaml"); });
  CHECK(contains(error, "recipes/try.yaml:7"));
  CHECK(contains(error, "train.threads"));
}

TEST_CASE("files that are not there") {
  test::TempDir tmp;
  write_file_atomic(tmp / "train.jsonl", "{}\n");
  const std::string yaml = "model: {path: m}\nrewards: [math]\ndata:\n  path: ";
  CHECK(error_of([&] { parse_recipe(yaml + (tmp / "train.jsonl").string() + "\n", "r.yaml"); }) == "no error");
  const std::string missing = error_of([&] { parse_recipe(yaml + (tmp / "tain.jsonl").string() + "\n", "r.yaml"); });
  CHECK(contains(missing, "r.yaml:4: 'data.path'"));
  CHECK(contains(missing, "does not exist"));
  CHECK(contains(missing, "did you mean " + (tmp / "train.jsonl").string()));
  CHECK(contains(error_of([&] { parse_recipe(yaml + tmp.path().string() + "\n", "r.yaml"); }), "names a folder"));
  CHECK(error_of([&] { parse_recipe(yaml + (tmp / "*.jsonl").string() + "\n", "r.yaml"); }) == "no error");
  CHECK(contains(error_of([&] { parse_recipe(yaml + (tmp / "no" / "*.jsonl").string() + "\n", "r.yaml"); }),
                 "does not exist"));
  CHECK(contains(error_of([&] { load_recipe(tmp / "none.yaml"); }), "none.yaml"));
}

TEST_CASE("settings that are probably not meant are warned of") {
  const auto warning = [](const Strings& settings) {
    const Recipe r = good(settings);
    return r.warnings.empty() ? std::string("none") : r.warnings[0];
  };
  CHECK(contains(warning({"rollout.top_p=0.9"}), "top_p"));
  CHECK(contains(warning({"rl.kl.coefficient=0.1", "rl.kl.estimator=k1"}), "k1"));
  CHECK(contains(warning({"rl.warmup_steps=100"}), "warmup_steps"));
  CHECK(contains(
      parse_recipe("model: {path: m}\ndata: {generate: {task: add, n: 9}}\nrewards: [math]\nrl: {clip_low: 0.1}\n",
                   "r.yaml")
          .warnings.at(0),
      "clip_low"));
  CHECK(warning({}) == "none");
}

TEST_CASE("the digest holds what decides the numbers, and nothing else") {
  const std::string base = recipe_digest(good());
  CHECK(recipe_digest(good({"output.dir=runs/other"})) == base);
  CHECK(recipe_digest(good({"rl.steps=20"})) == base);
  const Recipe served = good({"rollout.engine=grpc://127.0.0.1:5,localhost:6", "rollout.grpc.retries=3"});  // the same bits come from there
  CHECK(recipe_digest(served) == base);
  CHECK(served.grpc.servers == std::vector<std::string>{"127.0.0.1:5", "localhost:6"});
  CHECK(served.grpc.retries == 3);
  CHECK(recipe_digest(good({"train.threads=1"})) == base);
  CHECK(recipe_digest(good({"seed=1"})) != base);
  CHECK(recipe_digest(good({"rl.learning_rate=2e-6"})) != base);
  CHECK(recipe_digest(good({"rewards=[{name: math, require_end: true}]"})) != base);
  CHECK(recipe_digest(good({"rl.lr_schedule=linear", "rl.warmup_steps=1"})) !=
        recipe_digest(good({"rl.lr_schedule=linear", "rl.warmup_steps=1", "rl.steps=20"})));
}

TEST_CASE("the audit: on by itself where answers can be checked twice, its settings in the resolved recipe") {
  const Recipe r = good();
  REQUIRE(r.audit.auditor);
  CHECK(r.audit.auditor->share() == 0.25);
  CHECK(r.audit.auditor->check().name() == "answer");
  CHECK(r.audit.claims == std::map<std::string, double>{{"math", 1.0}});
  for (const char* line : {"audit.share", "audit.check", "audit.require_end", "audit.window", "audit.sigmas", "audit.min_rise"}) {
    const auto lines = r.resolved->lines();
    CHECK_MESSAGE(std::any_of(lines.begin(), lines.end(), [&](const auto& l) { return l.key == line; }), line);
  }
  CHECK(recipe_digest(good({"audit.share=0.5"})) == recipe_digest(r));  // it decides no number of the run
  CHECK_FALSE(good({"audit.share=0"}).audit.auditor);
  CHECK_FALSE(good({"audit.check=none"}).audit.auditor);
  CHECK_FALSE(good({"rewards=[{name: countdown}]"}).audit.auditor);
  CHECK_FALSE(good({"rewards=[{name: format}]"}).audit.auditor);  // claims nothing of an answer
  CHECK(good({"rewards=[{name: math, weight: 2}, {name: format}, {name: regex, as: x, pattern: a}]"}).audit.claims ==
        std::map<std::string, double>{{"math", 2.0}, {"x", 1.0}});
  CHECK(good({"rewards=[{name: code}]"}).audit.auditor->check().name() == "code");
  CHECK(good({"audit.rewards=[{name: exact_match}]"}).audit.auditor->check().name() == "rewards");

  const auto says = [](const Strings& overrides, const std::string& part) { CHECK(contains(error_of_setting(overrides), part)); };
  says({"audit.share=2"}, "audit.share");
  says({"audit.chek=answer"}, "did you mean 'audit.check'");
  says({"audit.share=0", "audit.window=9"}, "share is 0 or check is none");
  says({"audit.rewards=[{name: format}]"}, "none of them judges answers");
  says({"audit.ignore=[formt]"}, "'formt', which is no reward of this recipe");
  says({"audit.check=code", "audit.require_end=true"}, "belongs to answers");
  says({"rewards=[{name: countdown}]", "audit.window=9"}, "have no second check");
}

TEST_CASE("the resolved recipe reads back as itself") {
  const Recipe r = good({"rl.preset=r1_zero", "eval.generate={task: add, level: 2, n: 20, distinct: true}"});
  const Recipe again = parse_recipe(r.resolved->to_yaml(), "recipes/try.yaml");
  CHECK(again.resolved->differences(*r.resolved) == Strings{});
  CHECK(again.trainer.config_digest == r.trainer.config_digest);
}

TEST_CASE("rollout beside learning: keys, and what contradicts them") {
  const Recipe in_turns = good();
  CHECK(in_turns.trainer.async.max_staleness == 0);
  CHECK_FALSE(in_turns.learner.stale_samples);
  CHECK_FALSE(in_turns.trainer.early_stop.enabled);
  const Recipe r = good({"rl.max_staleness=2", "rl.async.patience_s=60"});
  CHECK(r.trainer.async.max_staleness == 2);
  CHECK_FALSE(r.trainer.async.free_running);
  CHECK(r.trainer.async.patience_s == 60);
  CHECK(r.learner.stale_samples);
  CHECK(r.trainer.config_digest != in_turns.trainer.config_digest);
  CHECK(r.trainer.config_digest == good({"rl.max_staleness=2"}).trainer.config_digest);  // how long to wait decides no number
  const Recipe free = good({"rl.max_staleness=1", "rl.async.mode=free", "rl.async.keep_kv=true"});
  CHECK(free.trainer.async.free_running);
  CHECK_FALSE(free.engine.recompute_on_new_weights);
  CHECK(good({"rl.max_staleness=1", "rl.async.mode=free"}).engine.recompute_on_new_weights);
  CHECK(contains(error_of_setting({"rl.async.mode=free"}), "rl.max_staleness is 0"));
  CHECK(contains(error_of_setting({"rl.max_staleness=1", "rl.async.keep_kv=true"}), "do not change within a rollout"));
  CHECK(contains(error_of_setting({"rl.max_staleness=-1"}), "max_staleness"));
  const Recipe uncorrected = good({"rl.max_staleness=1", "rl.mismatch.correction=none"});
  REQUIRE_FALSE(uncorrected.warnings.empty());
  CHECK(contains(uncorrected.warnings.back(), "token_tis"));

  const Recipe early = good({"rl.early_stop.enabled=true", "rl.early_stop.oversample=1.5"});
  CHECK(early.trainer.early_stop.oversample == 1.5);
  CHECK(contains(early.warnings.back(), "short answers"));
  CHECK(contains(error_of_setting({"rl.early_stop.oversample=1.5"}), "early_stop.enabled is false"));
  CHECK(contains(error_of_setting({"rl.early_stop.enabled=true", "rl.dynamic_sampling.enabled=true"}), "enable one of them"));
}

}  // namespace
}  // namespace r1
