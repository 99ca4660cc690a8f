#include "rewards/model_reward.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/error.h"
#include "rewards/factory.h"

namespace r1 {
namespace {

// Scores by length, remembers what it was shown.
struct Lengths {
  std::vector<std::string> seen;
  AnswerScorer scorer() {
    return {[this](const Prompt&, std::span<const std::string> answers) {
      std::vector<std::optional<float>> out;
      for (const std::string& a : answers) {
        seen.push_back(a);
        if (a.size() > 60) out.push_back(std::nullopt);
        else out.push_back(static_cast<float>(a.size()));
      }
      return out;
    }};
  }
};

SampleGroup group(const std::vector<std::string>& texts, const std::string& prompt = "Q") {
  SampleGroup g;
  g.prompt.text = prompt;
  for (const std::string& text : texts) {
    g.completions.emplace_back();
    g.completions.back().text = text;
  }
  return g;
}

std::vector<RewardResult> score(const ModelRewardOptions& options, Lengths& model, const SampleGroup& g) {
  std::vector<RewardResult> out(g.completions.size());
  make_model_reward(options, model.scorer())->score(g, out);
  return out;
}

}  // namespace

TEST_CASE("helpfulness sees the final summary alone; without one an answer is worth what the worst of its group is") {
  Lengths model;
  const auto out = score({}, model, group({"<think>long thoughts</think>\n\nshort", "<think>never closed", "plain answer", "<think>x</think> ",
                                           std::string(70, 'x')}));
  CHECK(model.seen == std::vector<std::string>{"short", "plain answer", std::string(70, 'x')});
  CHECK(out[0].value == 5.f);
  CHECK(out[0].verdict == Verdict::kAbstain);
  CHECK(out[1].value == 5.f);
  CHECK(out[1].verdict == Verdict::kUnparsed);
  CHECK(out[1].detail == "no summary");
  CHECK(out[2].value == 12.f);
  CHECK(out[3].value == 5.f);
  CHECK_FALSE(out[4].value);
  CHECK(out[4].detail == "too long for the model");
  Lengths none;
  CHECK(score({}, none, group({"<think>a", "<think>b"}))[0].value == 0.f);
  CHECK(none.seen.empty());
}

TEST_CASE("safety sees the whole response with the block that the prompt opened, and pays a probability") {
  Lengths model;
  const ModelRewardOptions safety{ModelRewardOptions::On::kResponse, true};
  const auto out = score(safety, model, group({"bad plan</think>fine", ""}, "Q <think>\n"));
  CHECK(model.seen == std::vector<std::string>{"<think>\nbad plan</think>fine", "<think>\n"});
  CHECK(*out[0].value == doctest::Approx(1 / (1 + std::exp(-28.0))));
  CHECK(make_model_reward(safety, model.scorer())->name() == "safety");
}

TEST_CASE("a recipe entry `model: DIR` makes it: kinds choose their part; a judge keeps its own `model`; failures name the key") {
  Lengths model;
  RewardContext context;
  context.external["model"] = [&](ConfigReader& o) {
    return make_model_reward(o, [&](ConfigReader& keys) {
      CHECK(keys.require<std::string>("model") == "runs/rm");
      return model.scorer();
    });
  };
  const auto rubric = [&](const std::string& entry) {
    ConfigReader root(Config::parse("rewards: [" + entry + "]", "r.yaml"));
    Rubric made = make_rubric(root.sections("rewards", "name"), context);
    root.finish();
    return made;
  };
  const Rubric helpful = rubric("{model: runs/rm, weight: 2}");
  CHECK(helpful.entries()[0].label == "helpful");
  CHECK(helpful.score(group({"<think>a</think>four"}))[0].value == 8.f);
  const Rubric safety = rubric("{model: runs/rm, kind: safety, as: safe}");
  CHECK(safety.entries()[0].label == "safe");
  CHECK(model.seen.back() == "<think>\nA greeting.\n</think>\n\nHello to you.");
  const Rubric summary = rubric("{model: runs/rm, kind: safety, on: summary}");
  CHECK(summary.score(group({"<think>a</think>b"}))[0].value == doctest::Approx(1 / (1 + std::exp(-1.0))));
  CHECK_THROWS_WITH_AS(rubric("{model: runs/rm, on: thinking}"), doctest::Contains("summary"), ConfigError);
  context.external["model"] = [&](ConfigReader& o) {
    return make_model_reward(o, [](ConfigReader& keys) {
      keys.require<std::string>("model");
      return AnswerScorer{
          [](const Prompt&, std::span<const std::string>) -> std::vector<std::optional<float>> { throw DataError("no such template"); }};
    });
  };
  CHECK_THROWS_WITH_AS(rubric("{model: runs/rm}"), doctest::Contains("cannot score an answer: no such template"), ConfigError);
  context.external.clear();
  CHECK_THROWS_WITH_AS(rubric("{model: runs/rm}"), doctest::Contains("no model rewards built in"), ConfigError);
}

}  // namespace r1
