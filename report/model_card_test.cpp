#include <doctest/doctest.h>

#include "report/model_card.h"

namespace r1::report {
namespace {

RunData trained() {
  RunData run;
  run.name = "first", run.kind = "grpo", run.seed = "3", run.finished = true, run.config_digest = "aa";
  run.config = {{"kind", "grpo", "recipe.yaml:1"},
                {"model.path", "/home/ann/models/base", "recipe.yaml:2"},
                {"data.path", "[/home/ann/secret/rows.jsonl]", "recipe.yaml:3"},
                {"rewards.0.as", "math", "default"},
                {"rewards.0.weight", "1.0", "default"},
                {"rl.preset", "dapo", "command line"},
                {"rl.clip_high", "0.28", "dapo:9"},
                {"rl.adam_beta1", "0.9", "default"},
                {"eval.generate.task", "add", "recipe.yaml:5"},
                {"eval.generate.level", "2", "recipe.yaml:5"}};
  for (const auto& [step, accuracy] : {std::pair{0, 0.25}, {4, 0.75}, {8, 0.5}})
    run.metrics.push_back({step, 0, {{"eval/greedy/accuracy", accuracy}, {"eval/greedy/accuracy_low", accuracy - 0.125}, {"eval/greedy/accuracy_high", accuracy + 0.125}, {"loss", 1}}});
  run.checkpoints = {{"step_000004", "d4", 10, ""}, {"step_000008", "d8", 10, ""}};
  run.starts = {{{"r1", "0.1.0"}, {"commit", "abc"}, {"device", "cpu"}, {"cpu", "a CPU"}, {"time", "2026-01-02T03:04:05Z"}, {"host", "annsbox"}}};
  return run;
}

bool holds(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return true;
  MESSAGE(text);
  return false;
}

TEST_CASE("a card says what was done, measured and where it began, of the checkpoint's own step") {
  const RunData run = trained();
  const std::string card = model_card({run, "ann/first", "step_000004", "", {}, "apache-2.0", "arXiv:2503.14476", {}, "r1 0.1.0"});
  CHECK(card.starts_with("---\nlibrary_name: transformers\npipeline_tag: text-generation\nlicense: \"apache-2.0\"\ntags:\n- \"r1.cpp\"\n- \"grpo\"\n"));
  CHECK(holds(card, "| accuracy, greedy | 25.0 % | 75.0 % | 62.5 % to 87.5 % |"));
  CHECK(holds(card, "model-index:\n- name: \"first\"\n"));
  CHECK(holds(card, "      value: 75\n"));
  CHECK(holds(card, "| digest | `d4`"));
  CHECK(holds(card, "| settings | preset `dapo` (arXiv:2503.14476) |"));
  CHECK(holds(card, "eprint = {2503.14476}"));
  CHECK(holds(card, "| rewards | math x 1 |"));
  CHECK(holds(card, "rl.clip_high=0.28\n"));
  CHECK(holds(card, "vllm serve ann/first\n"));
  CHECK(card.find("adam_beta1") == std::string::npos);  // the program's own default
  for (const char* secret : {"/home", "ann/models", "secret", "annsbox", "base_model", "datasets:"}) CHECK_MESSAGE(card.find(secret) == std::string::npos, secret);
  CHECK(holds(card, "| data | [rows.jsonl] |"));
}

TEST_CASE("names of the hub and benchmark results go into the metadata") {
  const RunData run = trained();
  const std::string card = model_card({run, "ann/first", "step_000008", "org/base", {"org/rows"}, "", "", {{"gsm8k", "greedy", 100, 0.5, 0.4, 0.6}}, "r1"});
  CHECK(holds(card, "base_model: \"org/base\"\n"));
  CHECK(holds(card, "datasets:\n- \"org/rows\"\nmetrics:\n- accuracy\n"));
  CHECK(holds(card, "| gsm8k | greedy | 100 | 50.0 % | 40.0 % to 60.0 % |"));
  CHECK(card.find("license") == std::string::npos);
}

TEST_CASE("what was not measured is not claimed") {
  RunData run = trained();
  run.metrics.clear();
  run.finished = false;
  const std::string card = model_card({run, "first", "step_000004", "", {}, "", "", {}, "r1"});
  CHECK(holds(card, "None was recorded"));
  CHECK(holds(card, "of a run that is not finished"));
  CHECK(card.find("metrics:") == std::string::npos);
  CHECK(card.find("model-index") == std::string::npos);
  CHECK(holds(card, "PATH/OF/THIS/FOLDER"));
  run.kind = "reward_model";
  const std::string scorer = model_card({run, "first", "step_000004", "", {}, "", "", {}, "r1"});
  CHECK(holds(scorer, "pipeline_tag: text-classification"));
  CHECK(holds(scorer, "AutoModelForSequenceClassification"));
}

}  // namespace
}  // namespace r1::report
