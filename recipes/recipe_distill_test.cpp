#include "recipes/recipe_distill.h"

#include <doctest/doctest.h>

#include "core/error.h"
#include "core/files.h"
#include "tests/support/errors.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

using Strings = std::vector<std::string>;

Config config(const std::string& mode, const Strings& overrides = {}) {
  return Config::parse(
      message("kind: distill\nmodel: {path: student}\ndata: {generate: {task: add, level: 2, n: 100}}\ndistill: {mode: ", mode, "}\n"), "d.yaml",
      overrides);
}
using test::contains;
using test::error_of;

}  // namespace

TEST_CASE("kind distill: the mode decides what the recipe is made of") {
  CHECK(distill_mode(config("sft")) == DistillMode::kSft);
  CHECK(distill_mode(config("logits")) == DistillMode::kLogits);
  CHECK(distill_mode(config("gkd")) == DistillMode::kGkd);
  CHECK(distill_mode(config("on_policy")) == DistillMode::kOnPolicy);
  CHECK(contains(error_of([] { distill_mode(config("offline")); }), "one of sft, logits, gkd and on_policy"));
  CHECK(contains(error_of([] { distill_mode(Config::parse("kind: distill\n", "d.yaml")); }), "mode"));
  CHECK(make_distill_sft_recipe(config("sft")).trainer.optimizer.learning_rate.peak == 2e-5);
  CHECK(contains(error_of([] { make_distill_sft_recipe(config("sft", {"distill.teacher=t"})); }), "learns from the teacher's texts"));
}

TEST_CASE("modes logits and gkd: divergence, temperature, teacher or store") {
  const DistillRecipe logits = make_distill_recipe(config("logits", {"distill.teacher=t"}));
  CHECK(logits.options.kd.divergence == Divergence::kForward);
  CHECK(logits.options.student_share == 0);
  CHECK(logits.teacher == "t");
  CHECK(logits.store.empty());
  CHECK(logits.base.model.device == "auto");
  const DistillRecipe gkd = make_distill_recipe(config("gkd", {"distill.teacher=t", "rollout.max_new_tokens=64"}));
  CHECK(gkd.options.kd.divergence == Divergence::kJsd);
  CHECK(gkd.options.kd.beta == 0.5);
  CHECK(gkd.options.student_share == 0.5);
  CHECK(gkd.sampling.temperature == doctest::Approx(0.9));
  CHECK(gkd.sampling.max_new_tokens == 64);
  const DistillRecipe stored = make_distill_recipe(config("logits", {"distill.teacher=t", "distill.top_k=32", "output.dir=runs/x"}));
  CHECK(stored.store == "runs/x/cache/teacher_top_k.safetensors");
  CHECK(stored.top_k == 32);
  const test::TempDir dir;
  write_file_atomic(dir / "s.safetensors", "x");
  CHECK(make_distill_recipe(config("logits", {"distill.store=" + (dir / "s.safetensors").string()})).teacher.empty());

  const auto why = [](const std::string& mode, const Strings& overrides) { return error_of([&] { make_distill_recipe(config(mode, overrides)); }); };
  CHECK(contains(why("logits", {}), "teacher"));
  CHECK(contains(why("logits", {"distill.store=none.safetensors", "distill.teacher=t"}), "set top_k"));
  CHECK(contains(why("logits", {"distill.store=none.safetensors", "distill.top_k=4"}), "is needed to make"));
  CHECK(contains(why("logits", {"distill.teacher=t", "distill.beta=0.2"}), "belongs to divergence: jsd"));
  CHECK(contains(why("logits", {"distill.teacher=t", "distill.student_share=0.2"}), "belongs to mode: gkd"));
  CHECK(contains(why("gkd", {"distill.teacher=t", "distill.top_k=4"}), "need the teacher itself"));
  CHECK(contains(why("logits", {"distill.teacher=t", "distill.divergence=kl"}), "forward_kl, reverse_kl, jsd"));
}

TEST_CASE("mode on_policy: a rollout without reward; the teacher's advantages leave none of their own") {
  const Recipe r = make_on_policy_recipe(config("on_policy", {"distill.teacher=t"}));
  CHECK(r.teacher == "t");
  CHECK(r.trainer.train_samples.advantage.kind == AdvantageKind::kNone);
  CHECK(r.learner.loss.surrogate.entry().name == "ratio");
  CHECK(r.learner.optimizer.learning_rate.peak == 5e-5);
  CHECK(r.trainer.samples_per_prompt == 4);
  CHECK(r.rubric->entries()[0].label == "none");
  SampleGroup group;
  group.completions.resize(2);
  CHECK(r.rubric->score(group)[1].value == 0.f);
  const Recipe measured = make_on_policy_recipe(config("on_policy", {"distill.teacher=t", "rewards=[{name: math}]"}));
  CHECK(measured.rubric->entries()[0].label == "math");
  const auto why = [](const Strings& overrides) { return error_of([&] { make_on_policy_recipe(config("on_policy", overrides)); }); };
  CHECK(contains(why({}), "teacher"));
  CHECK(contains(why({"distill.teacher=t", "rl.advantage.kind=group_mean"}), "the teacher gives the advantages"));
  CHECK(contains(why({"distill.teacher=t", "rl.dynamic_sampling.enabled=true"}), "no reward to choose groups by"));
  CHECK(contains(why({"distill.teacher=t", "distill.top_k=4"}), "top_k"));
}

}  // namespace r1
