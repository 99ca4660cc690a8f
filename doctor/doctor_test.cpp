// The examinations on prompts and engines made in code; `r1 doctor` as a whole is tests/integration/doctor.py.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "doctor/checks.h"
#include "recipes/peer_keys.h"
#include "rollout/scripted_engine.h"
#include "tests/support/support.h"

namespace r1::doctor {
namespace {

Recipe recipe(std::vector<std::string> overrides = {}) {
  return parse_recipe("model: {path: m}\ndata: {generate: {task: add, n: 100}}\nrollout: {samples_per_prompt: 4, max_new_tokens: 40}\n"
                      "rewards: [{name: math, extract: last_number}]\nrl: {steps: 10}\n",
                      "try.yaml", overrides);
}

ModelConfig model() {
  ModelConfig m;
  m.max_position_embeddings = 100;
  m.hidden_size = 8, m.num_hidden_layers = 1, m.num_attention_heads = 1, m.num_key_value_heads = 1, m.head_dim = 8, m.intermediate_size = 8, m.vocab_size = 10;
  return m;
}

std::vector<Prompt> prompts(int n) {
  std::vector<Prompt> out(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i) {
    Prompt& p = out[static_cast<std::size_t>(i)];
    p.id = message("p", i), p.reference = std::to_string(i), p.tokens = {1, 2, 3};
    p.messages = {{"user", message("question number ", i)}};
    p.text = "user: " + p.messages[0].content;
  }
  return out;
}

// The first `right` of a prompt's samples say the gold answer; `stop` ends all.
ScriptedEngine::Script answers(std::function<int(const Prompt&)> right, StopReason stop = StopReason::kEos) {
  return [=](const RolloutRequest& request, int sample) {
    Completion c;
    c.text = sample < right(request.prompt) ? request.prompt.reference : "no idea";
    c.tokens = {4, 5};
    c.stop = stop;
    return c;
  };
}

Findings start_model(const Recipe& r, ScriptedEngine::Script script, int count = 16) {
  const ModelConfig m = model();
  const Subject subject{r, m, nullptr, prompts(40), {}};
  ScriptedEngine engine(std::move(script));
  Findings out;
  check_start_model(subject, engine, static_cast<std::size_t>(count), out);
  return out;
}

TEST_CASE("start model: groups that differ are counted, and all the same is said") {
  const Recipe r = recipe();
  const Findings mixed = start_model(r, answers([](const Prompt& p) { return std::stoi(p.reference) % 2 == 0 ? 1 : 0; }), 8);
  REQUIRE(mixed.find("pass-at-g"));
  CHECK(mixed.find("pass-at-g")->text.find("on 8 prompts x 4 samples") != std::string::npos);
  REQUIRE(mixed.find("signal"));
  // Eight of forty evenly: 0, 5, 10, ...: four of them even.
  CHECK(mixed.find("signal")->text.find("4 of 8 groups") == 0);
  CHECK(mixed.find("pass-at-g")->text.find("pass@4 50 %, pass@1 12.5 %") == 0);
  CHECK(mixed.count(Level::kError) + mixed.count(Level::kWarning) == 1);  // half the answers cannot be read
  CHECK(mixed.find("unparsed"));

  const Findings solved = start_model(r, answers([](const Prompt&) { return 4; }));
  REQUIRE(solved.find("no-signal"));
  CHECK(solved.find("no-signal")->level == Level::kError);
  CHECK(solved.find("no-signal")->text.find("right already") != std::string::npos);
  const Findings never = start_model(r, answers([](const Prompt&) { return 0; }));
  CHECK(never.find("no-signal")->text.find("no answer could be judged") != std::string::npos);
  const Findings wrong = start_model(r, [](const RolloutRequest&, int) {
    Completion c;
    c.text = "-7", c.tokens = {1}, c.stop = StopReason::kLength;
    return c;
  });
  CHECK(wrong.find("no-signal")->level == Level::kWarning);
  CHECK(wrong.find("no-signal")->text.find("fewer than 19 %") != std::string::npos);
  CHECK(wrong.find("truncated"));
  CHECK_FALSE(solved.find("truncated"));
}

TEST_CASE("contamination is found both ways: a shared run of words, and a short question that is the same") {
  const Recipe r = recipe();
  const ModelConfig m = model();
  Subject subject{r, m, nullptr, prompts(50), prompts(200)};
  Findings same;
  check_data(subject, same);
  REQUIRE(same.find("contamination"));
  CHECK(same.find("contamination")->level == Level::kError);
  CHECK(same.find("contamination")->text.find("50 of 50") == 0);
  for (Prompt& p : subject.eval_prompts) p.messages[0].content = "held out " + p.messages[0].content;
  Findings apart;
  check_data(subject, apart);
  CHECK(apart.find("contamination")->level == Level::kGood);
}

TEST_CASE("settings: rates, saving, and the batch arithmetic") {
  const auto found = [](std::vector<std::string> overrides) {
    Findings out;
    check_settings(recipe(std::move(overrides)), nullptr, out);
    return out;
  };
  CHECK(found({}).find("batch")->text.find("32 prompts x 4 samples = 128 completions a rollout, 1 update(s) on it of about 128 completions; 10 updates take 10 rollouts") == 0);
  CHECK_FALSE(found({}).find("learning-rate"));
  CHECK(found({"rl.learning_rate=0.01"}).find("learning-rate")->level == Level::kWarning);
  CHECK_FALSE(found({"rl.learning_rate=0.001", "lora.rank=8"}).find("learning-rate"));  // usual for LoRA
  CHECK(found({"output.save_every=0"}).find("save-late"));
  CHECK_FALSE(found({"output.save_every=5"}).find("save-late"));
}

TEST_CASE("findings as text and as JSON") {
  Findings f;
  f.section("data");
  f.good("gold", "all \"fine\"");
  f.error("bad", "two\nlines", "repair");
  CHECK(f.text(false) == "data\n  ok        gold: all \"fine\"\n  error     bad: two\n            lines\n            -> repair\n");
  CHECK(f.text(false, 1) == "  error     bad: two\n            lines\n            -> repair\n");
  const auto j = nlohmann::json::parse(f.json());
  CHECK(j["errors"] == 1);
  CHECK(j["findings"][0]["text"] == "all \"fine\"");
  CHECK(j["findings"][1]["level"] == "error");
}

TEST_CASE("peers' keys: every one that has a counterpart names a path of this recipe") {
  REQUIRE(find_peer_key("num_generations"));
  CHECK(peer_key_text(*find_peer_key("num_generations")) == "num_generations is TRL's name; here it is rollout.samples_per_prompt");
  CHECK(peer_key_text(*find_peer_key("use_vllm")).find("no such setting") != std::string::npos);
  CHECK(find_peer_key("rl") == nullptr);
}

}  // namespace
}  // namespace r1::doctor
