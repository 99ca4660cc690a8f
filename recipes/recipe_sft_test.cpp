#include "recipes/recipe_sft.h"

#include <doctest/doctest.h>

#include "core/error.h"
#include "core/files.h"
#include "sft/test_support.h"
#include "tests/support/errors.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

using Strings = std::vector<std::string>;

const char* kGood = R"(kind: sft
model: {path: some/model}
data: {generate: {task: add, level: 2, n: 100}}
)";

SftRecipe good(const Strings& overrides = {}) { return make_sft_recipe(Config::parse(kGood, "recipes/try.yaml", overrides)); }

std::string error_of(const Strings& overrides) {
  try {
    SftRecipe r = good(overrides);
    plan_updates(r.trainer, r.steps, r.warmup_ratio, 100, "sft");
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}
using test::contains;

}  // namespace

TEST_CASE("defaults of kind sft") {
  SftRecipe r = good();
  CHECK(r.name == "try");
  CHECK(r.output.dir == "runs/try");
  CHECK(r.trainer.examples_per_update == 64);
  CHECK(r.trainer.optimizer.learning_rate.peak == 2e-5);
  CHECK(r.trainer.optimizer.learning_rate.schedule == LrSchedule::kCosineWithMinLr);
  CHECK(r.trainer.optimizer.learning_rate.min_ratio == 0.1);
  CHECK(r.trainer.optimizer.beta2 == 0.999);
  CHECK(r.data.sources.size() == 1);
  CHECK(r.data.sources[0].generate->worked);
  CHECK(r.data.sources[0].rows.overlong == Overlong::kError);
  CHECK_FALSE(r.validation.has_value());
  CHECK_FALSE(r.eval_data.has_value());
  CHECK(r.trainer.loop.config_digest.size() == 32);
  plan_updates(r.trainer, r.steps, r.warmup_ratio, 100, "sft");
  CHECK(r.trainer.loop.steps == 2);
  CHECK(r.trainer.epochs == 1);
  CHECK(r.trainer.optimizer.learning_rate.total == 2);
}

TEST_CASE("epochs or steps, warm-up steps or share") {
  SftRecipe r = good({"sft.epochs=3", "sft.examples_per_update=10", "sft.warmup_ratio=0.1"});
  plan_updates(r.trainer, r.steps, r.warmup_ratio, 105, "sft");
  CHECK(r.trainer.loop.steps == 32);  // 315 examples
  CHECK(r.trainer.optimizer.learning_rate.warmup == 4);
  r = good({"sft.epochs=1", "sft.examples_per_update=10", "sft.warmup_ratio=0.1"});
  plan_updates(r.trainer, r.steps, r.warmup_ratio, 10, "sft");  // one update: a share of it is none, though it is rounded up elsewhere
  CHECK(r.trainer.loop.steps == 1);
  CHECK(r.trainer.optimizer.learning_rate.warmup == 0);
  r = good({"sft.steps=7", "sft.warmup_steps=2"});
  plan_updates(r.trainer, r.steps, r.warmup_ratio, 105, "sft");
  CHECK(r.trainer.loop.steps == 7);
  CHECK(r.trainer.epochs == 7.0 * 64 / 105);
  CHECK(r.trainer.optimizer.learning_rate.warmup == 2);
  CHECK(contains(error_of({"sft.steps=7", "sft.epochs=2"}), "no effect"));
  const auto from_file = [](const char* key, const Strings& overrides) {
    return make_sft_recipe(Config::parse(std::string(kGood) + "sft: {" + key + "}\n", "f.yaml", overrides));
  };
  CHECK(*from_file("epochs: 2", {"sft.steps=7"}).steps == 7);
  CHECK_FALSE(from_file("steps: 7", {"sft.epochs=2"}).steps.has_value());
  CHECK(from_file("steps: 7", {"sft.epochs=2"}).trainer.epochs == 2);
  CHECK_THROWS_AS(from_file("steps: 7, epochs: 2", {}), ConfigError);
  CHECK(contains(error_of({"sft.warmup_ratio=0.1", "sft.warmup_steps=2"}), "no effect"));
  CHECK(contains(error_of({"sft.steps=7", "sft.warmup_steps=7"}), "not below the 7 updates"));
}

TEST_CASE("sources, mixtures, validation") {
  const test::TempDir dir;
  const std::string file = (dir / "a.jsonl").string();
  write_file_atomic(file, "{}\n");
  const std::string parts = "[{path: " + file + ", weight: 0.5, prompt: q, completion: a}, {path: [" + file + "]}]";
  const std::string yaml = "kind: sft\nmodel: {path: m}\ndata: {mixture: " + parts + ", max_length: 99, overlong: truncate}\n"
                           "validation: {path: " + file + ", limit: 5, every: 7}\n";
  const SftRecipe r = make_sft_recipe(Config::parse(yaml, "m.yaml"));
  REQUIRE(r.data.sources.size() == 2);
  CHECK(r.data.sources[0].weight == 0.5);
  CHECK(r.data.sources[1].weight == 1);
  CHECK(r.data.sources[0].rows.completion_column == "a");
  CHECK(r.data.sources[1].rows.completion_column == "");
  CHECK(r.data.sources[1].rows.max_length == 99);
  CHECK(r.data.sources[1].rows.overlong == Overlong::kTruncate);
  CHECK(r.validation->source->rows.dataset.limit == 5);
  CHECK(r.validation->source->rows.max_length == 99);
  CHECK(r.trainer.loop.eval_every == 7);
  CHECK(contains(error_of({"data.mixture=[]"}), "data.generate"));
  CHECK(contains(error_of({"data.prompt=q"}), "columns of their own"));
  CHECK(contains(error_of({"validation.every=5"}), "validation has no data"));
  CHECK(contains(error_of({"validation.share=0.1", "validation.limit=5"}), "no effect"));
  CHECK(good({"validation.share=0.1"}).validation->share == 0.1);
}

TEST_CASE("a generative evaluation needs rewards, and both kinds of evaluation share their steps") {
  const Strings eval = {"eval.generate={task: add, level: 2, n: 10}", "rewards=[{name: math}]"};
  const SftRecipe r = good(eval);
  CHECK(r.eval_data->generate->split == "test");
  CHECK_FALSE(r.eval_data->generate->worked);
  CHECK(r.trainer.loop.eval_every == 20);
  CHECK(r.trainer.eval.sampling.max_new_tokens == 512);
  CHECK(r.rubric->entries().size() == 1);
  CHECK(contains(error_of({eval[0]}), "rewards"));
  CHECK(contains(error_of({eval[1]}), "judge the completions of eval"));
  CHECK(contains(error_of({eval[0], eval[1], "validation.share=0.1", "validation.every=3"}), "eval.every"));
}

TEST_CASE("keys of another kind are unknown") {
  CHECK(contains(error_of({"rl.steps=3"}), "rl"));
  CHECK(contains(error_of({"rollout.temperature=1"}), "rollout"));
  CHECK(contains(error_of({"sft.learnin_rate=1"}), "learning_rate"));
  CHECK(contains(error_of({"output.samples_every=1"}), "samples_every"));
  CHECK(contains(error_of({"data.overlong=cut"}), "truncate"));
}

TEST_CASE("lora: new pairs, or an adapter to go on from") {
  CHECK_FALSE(good().lora.has_value());
  const SftRecipe r = good({"lora={rank: 8, targets: [q_proj, v_proj], rslora: true}", "seed=5"});
  CHECK(r.lora->options.rank == 8);
  CHECK(r.lora->options.alpha == 16);  // twice the rank
  CHECK(r.lora->options.targets == Strings{"q_proj", "v_proj"});
  CHECK(r.lora->options.rslora);
  CHECK(r.lora->options.seed == 5);
  const std::string adapter = R1_SOURCE_DIR "/tests/golden/sft/lora_qv";
  CHECK(good({"lora.init_from=" + adapter}).lora->init_from == adapter);
  CHECK(contains(error_of({"lora.init_from=" + adapter, "lora.rank=4"}), "adapter_config.json says that"));
  CHECK(contains(error_of({"lora.init_from=/nowhere"}), "holds no adapter_config.json"));
  CHECK(good({"lora.dropout=0.1"}).lora->options.dropout == 0.1);
  CHECK(good({"lora={init_from: " + adapter + ", dropout: 0.2}", "seed=6"}).lora->options.seed == 6);
  CHECK(contains(error_of({"lora.dropout=0.95"}), "lora.dropout"));
  CHECK(contains(error_of({"lora.ranks=4"}), "did you mean 'lora.rank'"));
}

TEST_CASE("what may change between starts of a run") {
  const std::string digest = good().trainer.loop.config_digest;
  CHECK(good({"output.save_every=3", "train.threads=2"}).trainer.loop.config_digest == digest);
  CHECK(good({"sft.learning_rate=1e-5"}).trainer.loop.config_digest != digest);
  CHECK(good({"sft.epochs=2"}).trainer.loop.config_digest != digest);  // a cosine ends elsewhere
  CHECK(good({"sft.epochs=2", "sft.lr_schedule=constant"}).trainer.loop.config_digest ==
        good({"sft.lr_schedule=constant"}).trainer.loop.config_digest);
}

TEST_CASE("the recipes of this folder") {
  const std::filesystem::path dir = std::filesystem::path(R1_SOURCE_DIR) / "recipes";
  CHECK(make_sft_recipe(Config::load(dir / "sft.yaml")).warnings.empty());
  const test::TempDir tmp;
  const std::string file = (tmp / "rows.jsonl").string();
  write_file_atomic(file, "{}\n");
  const Strings files = {"data.path=" + file, "eval.data=" + file};
  SftRecipe gsm = make_sft_recipe(Config::load(dir / "sft_gsm8k.yaml", files));
  plan_updates(gsm.trainer, gsm.steps, gsm.warmup_ratio, 7324, "sft");
  CHECK(gsm.trainer.loop.steps == 344);
  CHECK(gsm.trainer.optimizer.learning_rate.warmup == 11);
}

TEST_CASE("worked rows of a task, and held-out examples") {
  SftSource source;
  source.generate = GeneratedData{"add", 2, 40, 0, "train", false, true};
  source.rows.dataset.prompt_column = "prompt";
  source.rows.completion_column = "completion";
  SftRows rows = load_sft_source(source, "data", test::chat_ml(), {257});
  REQUIRE(rows.examples.size() == 40);
  const std::string text = marked_text(rows.examples[0], *test::chat_ml(), [](const std::string& s) { return "[" + s + "]"; });
  CHECK(contains(text, "user\nWhat is "));
  CHECK(contains(text, "<|im_start|>assistant\n["));
  CHECK(text.ends_with("<|im_end|>]"));
  std::vector<SftExample> train = rows.examples, again = rows.examples;
  const std::vector<SftExample> held = take_validation(train, 0.1, 3);
  CHECK(held.size() == 4);
  CHECK(train.size() == 36);
  for (const SftExample& h : held)
    for (const SftExample& t : train) CHECK(h.name != t.name);
  CHECK(take_validation(again, 0.1, 3)[0].name == held[0].name);
  CHECK_THROWS_WITH_AS(take_validation(again, 0.001, 3), doctest::Contains("no example for validation"), ConfigError);
}

}  // namespace r1
