#include "rl/statistics.h"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "rl/evaluator.h"
#include "rl/prompt_stream.h"
#include "core/error.h"
#include "rl/test_support.h"
#include "rollout/scripted_engine.h"

namespace r1 {

TEST_CASE("Wilson interval at known points") {
  const Interval i = wilson_interval(10, 100);  // 0.0552, 0.1744 in any statistics package
  CHECK(i.low == doctest::Approx(0.05523).epsilon(1e-3));
  CHECK(i.high == doctest::Approx(0.17437).epsilon(1e-3));
  CHECK(wilson_interval(0, 20).low == 0);
  CHECK(wilson_interval(0, 20).high == doctest::Approx(0.16113).epsilon(1e-3));
  CHECK(wilson_interval(20, 20).high == doctest::Approx(1));
  CHECK(wilson_interval(0, 0).high == 1);
}

TEST_CASE("pass@k equals 1 - C(n-c,k)/C(n,k)") {
  const auto choose = [](double n, double k) {
    return std::exp(std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1));
  };
  for (int n = 1; n <= 8; ++n)
    for (int c = 0; c <= n; ++c)
      for (int k = 1; k <= n; ++k)
        CHECK(pass_at_k(n, c, k) == doctest::Approx(n - c < k ? 1.0 : 1 - choose(n - c, k) / choose(n, k)));
}

TEST_CASE("bootstrap: around the mean, about as wide as theory says, the same for a seed") {
  std::vector<double> items;
  for (int i = 0; i < 400; ++i) items.push_back(i % 4 == 0);
  const Interval i = bootstrap_mean(items, 3);
  const double half = 1.96 * std::sqrt(0.25 * 0.75 / 400);
  CHECK(i.low == doctest::Approx(0.25 - half).epsilon(0.06));
  CHECK(i.high == doctest::Approx(0.25 + half).epsilon(0.06));
  CHECK(bootstrap_mean(items, 3).low == i.low);
}

TEST_CASE("an evaluation counts greedy and sampled answers, and their intervals") {
  // Prompt k: greedy right iff k is even; sample s right iff s < k.
  ScriptedEngine engine([](const RolloutRequest& r, int sample) {
    Completion c;
    const int k = std::stoi(r.prompt.id);
    const bool right = r.sampling.temperature == 0 ? k % 2 == 0 : sample < k;
    c.tokens = right ? std::vector<TokenId>{1, 2} : std::vector<TokenId>{1, 2, 3, 4};
    c.text = right ? "yes" : "no";
    c.stop = right ? StopReason::kEos : StopReason::kLength;
    return c;
  });
  std::vector<Prompt> prompts;
  for (int k = 0; k < 5; ++k) prompts.push_back(test::make_prompt(std::to_string(k), {1}));
  const Scorer scorer = [](const SampleGroup& g) {
    std::vector<Score> out;
    for (const auto& c : g.completions)
      out.push_back({c.text == "yes" ? 1.f : 0.f,
                     {{"math", 1.f}},
                     c.text == "yes" ? Verdict::kCorrect : Verdict::kWrong,
                     "",
                     {},
                     {}});
    return out;
  };
  EvalOptions o;
  o.samples = 4;
  o.pass_k = {2, 4};
  o.sampling.max_new_tokens = 4;
  const EvalReport r = evaluate(engine, prompts, scorer, o);
  REQUIRE(r.greedy);
  CHECK(r.greedy->accuracy == doctest::Approx(0.6));
  CHECK(r.greedy->interval.low == doctest::Approx(wilson_interval(3, 5).low));
  CHECK(r.greedy->mean_length == doctest::Approx((3 * 2 + 2 * 4) / 5.0));
  CHECK(r.greedy->truncated == doctest::Approx(0.4));
  REQUIRE(r.sampled);
  CHECK(r.sampled->accuracy == doctest::Approx((0 + 0.25 + 0.5 + 0.75 + 1) / 5));
  CHECK(r.pass_at.at(1) == doctest::Approx(r.sampled->accuracy));
  CHECK(r.pass_at.at(2) == doctest::Approx((0 + 0.5 + (1 - 1.0 / 6) + 1 + 1) / 5));
  CHECK(r.pass_at.at(4) == doctest::Approx(0.8));
  CHECK(r.items[3].correct == 3);
  CHECK(r.items[3].group.completions.size() == 5);
  CHECK(r.items[3].greedy_correct == false);
  const auto m = r.metrics();
  CHECK(m.at("eval/greedy/accuracy") == doctest::Approx(0.6));
  CHECK(m.at("eval/sampled/pass@4") == doctest::Approx(0.8));
  o.pass_k = {9};
  CHECK_THROWS_AS(evaluate(engine, prompts, scorer, o), ConfigError);
  CHECK_THROWS_AS(evaluate(engine, {}, scorer, {}), DataError);
}

TEST_CASE("prompts: each epoch shows all, in its own order, addressed by index") {
  std::vector<Prompt> prompts;
  for (int i = 0; i < 10; ++i) prompts.push_back(test::make_prompt(std::to_string(i), {1}));
  const ShuffledPrompts source(prompts, 7);
  std::vector<std::string> orders;
  for (std::uint64_t epoch = 0; epoch < 3; ++epoch) {
    std::vector<int> seen(10);
    std::string order;
    for (std::uint64_t i = 0; i < 10; ++i) {
      const std::string id = source.at(epoch * 10 + i).id;
      ++seen[static_cast<std::size_t>(std::stoi(id))];
      order += id;
    }
    CHECK(seen == std::vector<int>(10, 1));
    orders.push_back(order);
  }
  CHECK(orders[0] != orders[1]);
  CHECK(source.at(13).id == std::string(1, orders[1][3]));  // going back gives the same
  CHECK(ShuffledPrompts(prompts, 7).at(25).id == source.at(25).id);
  CHECK(ShuffledPrompts(prompts, 7, false).at(12).id == "2");
  CHECK_THROWS_AS(ShuffledPrompts({}, 1), DataError);
}

}  // namespace r1
