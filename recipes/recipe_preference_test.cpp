#include "recipes/recipe_preference.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "core/error.h"
#include "core/files.h"
#include "preference/test_support.h"
#include "tests/support/errors.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

using Strings = std::vector<std::string>;

// A recipe of either kind over a file that is there.
struct Try {
  explicit Try(bool reward_model) : reward(reward_model) { write_file_atomic(dir / "pairs.jsonl", "{}\n"); }
  PreferenceRecipe make(const Strings& overrides = {}) {
    const std::string yaml =
        message("kind: ", reward ? "reward_model" : "dpo", "\nmodel: {path: some/model}\ndata: {path: ", (dir / "pairs.jsonl").string(), "}\n");
    return make_preference_recipe(Config::parse(yaml, "recipes/try.yaml", overrides), reward);
  }
  std::string error_of(const Strings& overrides) {
    try {
      PreferenceRecipe r = make(overrides);
      plan_updates(r.trainer, {}, r.warmup_ratio, 100, "dpo");
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  }
  bool reward;
  test::TempDir dir;
};

using test::contains;

}  // namespace

TEST_CASE("kind dpo: DeepSeek LLM's settings are the defaults") {
  Try t(false);
  PreferenceRecipe r = t.make();
  CHECK(r.dpo.beta == 0.1);
  CHECK(r.dpo.kind == DpoLoss::kSigmoid);
  CHECK(r.trainer.examples_per_update == 512);
  CHECK(r.trainer.epochs == 1);
  CHECK(r.trainer.optimizer.learning_rate.peak == 5e-6);
  CHECK(r.trainer.optimizer.learning_rate.schedule == LrSchedule::kCosine);
  plan_updates(r.trainer, {}, r.warmup_ratio, 20'000, "dpo");
  CHECK(r.trainer.loop.steps == 40);
  CHECK(r.trainer.optimizer.learning_rate.warmup == 4);
  CHECK(r.trainer.optimizer.learning_rate.total == 40);
  CHECK(t.make({"dpo.loss=ipo"}).dpo.kind == DpoLoss::kIpo);
  CHECK(contains(t.error_of({"dpo.loss=ipo", "dpo.label_smoothing=0.1"}), "belongs to loss: sigmoid"));
  CHECK(contains(t.error_of({"dpo.loss=kto"}), "sigmoid, hinge, ipo"));
  CHECK(contains(t.error_of({"dpo.examples_per_update=50", "dpo.warmup_steps=2"}), "not below the 2 updates"));
  CHECK(contains(t.error_of({"dpo.betta=0.2"}), "did you mean 'dpo.beta'"));
  CHECK(contains(t.error_of({"data.label=x"}), "pairs have chosen and rejected"));
  CHECK(contains(t.error_of({"data.overlong=truncate"}), "overlong"));
  CHECK(contains(t.error_of({"data.path=nowhere.jsonl"}), "does not exist"));
}

TEST_CASE("pairs of a task in place of a file, LoRA with dropout") {
  const std::string generate = "{task: add, level: 2, n: 40, seed: 1}";
  const auto recipe = [&](const Strings& overrides, bool reward_model = true) {
    return make_preference_recipe(
        Config::parse(message("schema: 1\nkind: ", reward_model ? "reward_model" : "dpo", "\nmodel: {path: m}\ndata: {generate: ", generate, "}\n"), "f.yaml",
                      overrides),
        reward_model);
  };
  const PreferenceRecipe r = recipe({"validation.generate={task: add, level: 2, n: 10}", "lora={rank: 4, dropout: 0.1}", "seed=3"});
  CHECK(r.data.generate->pairs);
  CHECK(r.data.generate->split == "train");
  CHECK(r.validation->generate->split == "test");
  CHECK(r.lora->options.dropout == 0.1);
  CHECK(r.lora->options.seed == 3);
  CHECK(recipe({}, false).data.generate->rows == 40);
  const auto error = [&](const Strings& overrides) {
    try {
      recipe(overrides);
    } catch (const ConfigError& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  CHECK(contains(error({"data.chosen=good"}), "columns of their own"));
  CHECK(contains(error({"reward_model.loss=pointwise"}), "labelled answers are read from files"));
}

TEST_CASE("kind reward_model: R1's settings are the defaults; pointwise models have labels in place of pairs") {
  Try t(true);
  PreferenceRecipe r = t.make();
  CHECK(r.data.rows.pairs);
  CHECK(r.trainer.examples_per_update == 256);
  CHECK(r.trainer.optimizer.learning_rate.peak == 6e-6);
  CHECK(r.reward.centring == 0);
  CHECK(t.make({"reward_model.centring=0.01"}).reward.centring == 0.01);
  CHECK(t.make({"data.balance_lengths=true"}).data.balance_lengths);
  const PreferenceRecipe point = t.make({"reward_model.loss=pointwise", "data.label=is_safe", "data.response=answer"});
  CHECK_FALSE(point.data.rows.pairs);
  CHECK(point.data.rows.label_column == "is_safe");
  CHECK(contains(t.error_of({"reward_model.loss=pointwise", "reward_model.centring=1"}), "belongs to loss: pairwise"));
  CHECK(contains(t.error_of({"reward_model.loss=pointwise", "data.balance_lengths=true"}), "have no pairs"));
  CHECK(contains(t.error_of({"validation.every=3"}), "set validation.path, generate or share"));
  CHECK(contains(t.error_of({"validation.share=0.1", "validation.limit=3"}), "takes training examples"));
  const PreferenceRecipe held = t.make({message("validation.path=", (t.dir / "pairs.jsonl").string()), "data.chosen=good"});
  CHECK(held.validation->rows->chosen_column == "good");
  // What may change between starts leaves the digest alone, what decides the numbers does not.
  CHECK(t.make({"output.save_every=7"}).trainer.loop.config_digest == r.trainer.loop.config_digest);
  CHECK(t.make({"reward_model.centring=0.01"}).trainer.loop.config_digest != r.trainer.loop.config_digest);
}

TEST_CASE("held-out prompts take all their pairs along; the draw is the seed's") {
  const auto make = [] {
    std::vector<test::TokenPair> pairs;
    for (TokenId prompt = 0; prompt < 10; ++prompt)
      for (TokenId k = 0; k < 3; ++k) pairs.push_back({{prompt, 5}, {k}, {k + 1}});
    return test::pair_set(pairs);
  };
  PreferenceSet set = make(), again = make(), other = make();
  const PreferenceSet held = take_held_out(set, 0.3, 1);
  CHECK(held.size() == 9);
  CHECK(set.size() == 21);
  for (std::size_t i = 0; i < held.samples.size(); ++i) {
    CHECK(held.samples[i].group == i / 2);
    for (const TrainSample& s : set.samples) CHECK(s.tokens[0] != held.samples[i].tokens[0]);
  }
  const auto first_tokens = [](const PreferenceSet& s) {
    std::vector<TokenId> out;
    for (const TrainSample& sample : s.samples) out.push_back(sample.tokens[0]);
    return out;
  };
  CHECK(first_tokens(take_held_out(again, 0.3, 1)) == first_tokens(held));
  CHECK(first_tokens(take_held_out(other, 0.3, 2)) != first_tokens(held));
  CHECK_THROWS_WITH_AS(take_held_out(set, 0.01, 1), doctest::Contains("leaves none for validation"), ConfigError);
}

}  // namespace r1
