// A real model against transformers: greedy tokens, and log-probabilities of sampled tokens. Needs R1_TEST_MODEL (an HF
// directory, SmolLM2-135M-Instruct) and R1_GOLDEN_PYTHON (a Python with torch and transformers).
#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "model/hf_directory.h"
#include "rollout/local_engine.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

using nlohmann::json;

const char* const kQuestions[] = {"What is 37 + 45?", "Name three colours of the rainbow.", "Write a haiku about the sea.",
                                  "Zähle von 1 bis 10.", "def fibonacci(n):"};

RolloutRequest ask(const Tokenizer& tokenizer, std::uint64_t number, const char* question, float temperature) {
  RolloutRequest r;
  r.prompt.id = question;
  r.prompt.text = message("<|im_start|>user\n", question, "<|im_end|>\n<|im_start|>assistant\n");
  r.prompt.tokens = tokenizer.encode(r.prompt.text);
  r.sampling.temperature = temperature;
  r.sampling.max_new_tokens = 48;
  r.key = {1, 0, number, 0};
  return r;
}

TEST_CASE("greedy tokens and log-probabilities are those of transformers") {
  const char* model_dir = std::getenv("R1_TEST_MODEL");
  const char* python = std::getenv("R1_GOLDEN_PYTHON");
  if (model_dir == nullptr || python == nullptr) {
    test::skip("R1_TEST_MODEL and R1_GOLDEN_PYTHON are not both set");
    return;
  }
  ComputePool pool;
  const ModelDirectory directory(model_dir);
  const auto tokenizer = Tokenizer::load(model_dir);
  Transformer model(directory.config(), DType::kF32, pool);
  directory.load_into(model.weights());
  LocalEngine engine(model, tokenizer);

  std::vector<RolloutRequest> greedy, sampled;
  for (const char* q : kQuestions) {
    greedy.push_back(ask(*tokenizer, greedy.size(), q, 0.f));
    sampled.push_back(ask(*tokenizer, sampled.size(), q, 1.f));
  }
  const auto greedy_groups = generate(engine, greedy);
  const auto sampled_groups = generate(engine, sampled);

  json work = {{"new_tokens", 48}, {"prompts", json::array()}, {"sequences", json::array()}};
  for (const auto& r : greedy) work["prompts"].push_back(r.prompt.tokens);
  for (const auto& g : sampled_groups) work["sequences"].push_back({{"prompt", g.prompt.tokens}, {"tokens", g.completions[0].tokens}});
  const test::TempDir dir;
  std::ofstream(dir / "in.json") << work.dump();
  const std::string command = message("'", python, "' '", R1_SOURCE_DIR, "/tests/golden/rollout_greedy.py' '", model_dir, "' '",
                                      (dir / "in.json").string(), "' '", (dir / "out.json").string(), "'");
  REQUIRE(std::system(command.c_str()) == 0);
  const json expected = json::parse(std::ifstream(dir / "out.json"));

  std::size_t compared = 0;
  for (std::size_t i = 0; i < greedy_groups.size(); ++i) {
    const auto tokens = expected["greedy"][i]["tokens"].get<std::vector<TokenId>>();
    const auto gaps = expected["greedy"][i]["gaps"].get<std::vector<double>>();
    const auto& ours = greedy_groups[i].completions[0].tokens;
    CAPTURE(kQuestions[i]);
    for (std::size_t t = 0; t < std::max(ours.size(), tokens.size()); ++t) {
      REQUIRE(t < tokens.size());
      REQUIRE(t < ours.size());
      CAPTURE(t);
      // A near tie may fall either way in float32; what follows is then another text.
      if (ours[t] != tokens[t]) {
        CHECK(gaps[t] < 1e-3);
        break;
      }
      ++compared;
    }
  }
  CHECK(compared > 100);

  double worst = 0;
  for (std::size_t i = 0; i < sampled_groups.size(); ++i) {
    const auto theirs = expected["logprobs"][i].get<std::vector<double>>();
    const auto& ours = sampled_groups[i].completions[0].logprobs;
    REQUIRE(ours.size() == theirs.size());
    for (std::size_t t = 0; t < ours.size(); ++t) worst = std::max(worst, std::abs(ours[t] - theirs[t]));
  }
  CHECK(worst < 1e-3);
  MESSAGE("greedy tokens compared: ", compared, ", largest difference of log-probabilities: ", worst);
}

}  // namespace
}  // namespace r1
