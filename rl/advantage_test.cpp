#include "rl/advantage.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "core/error.h"

namespace r1 {
namespace {

std::vector<GroupRewards> groups(std::initializer_list<GroupRewards> list) { return list; }

Advantages run(const std::vector<GroupRewards>& rewards, AdvantageKind kind, double epsilon = 1e-6) {
  return compute_advantages(rewards, {kind, epsilon});
}

ScoredGroup scored(std::vector<float> values, std::vector<Verdict> verdicts) {
  ScoredGroup g;
  for (std::size_t i = 0; i < values.size(); ++i) {
    Completion c;
    c.stop = StopReason::kEos;
    g.group.completions.push_back(c);
    Score s;
    s.value = values[i];
    s.parts["math"] = values[i];
    s.verdict = verdicts[i];
    g.scores.push_back(s);
  }
  return g;
}

}  // namespace

TEST_CASE("group z-score divides by the sample standard deviation") {
  const auto a = run(groups({{1.f, 0.f, 0.f, 1.f}}), AdvantageKind::kGroupZscore);
  const double std = std::sqrt(4 * 0.25 / 3);  // n-1
  CHECK(a.values[0][0] == doctest::Approx(0.5 / (std + 1e-6)).epsilon(1e-6));
  CHECK(a.values[0][1] == doctest::Approx(-0.5 / (std + 1e-6)).epsilon(1e-6));
  const auto wide = run(groups({{1.f, 0.f}}), AdvantageKind::kGroupZscore, 0.5);
  CHECK(wide.values[0][0] == doctest::Approx(0.5 / (std::sqrt(0.5) + 0.5)));
}

TEST_CASE("RLOO is G/(G-1) times Dr. GRPO; z-score with the std forced to 1 is Dr. GRPO") {
  const auto rewards = groups({{0.3f, 1.f, -0.2f, 0.7f, 0.1f}});
  const auto mean = run(rewards, AdvantageKind::kGroupMean), rloo = run(rewards, AdvantageKind::kRloo);
  for (int i = 0; i < 5; ++i) CHECK(rloo.values[0][i] == doctest::Approx(1.25 * mean.values[0][i]));
  // Scaled so that its sample std is 1: then the z-score with epsilon 0 changes nothing.
  std::vector<double> values;
  for (const auto& r : rewards[0]) values.push_back(*r);
  const double std = sample_std(values);
  GroupRewards unit;
  for (double v : values) unit.push_back(static_cast<float>(v / std));
  const auto z = run(groups({unit}), AdvantageKind::kGroupZscore, 0),
             m = run(groups({unit}), AdvantageKind::kGroupMean);
  for (int i = 0; i < 5; ++i) CHECK(z.values[0][i] == doctest::Approx(m.values[0][i]).epsilon(1e-6));
}

TEST_CASE("batch std: centred in the group, scaled over the rollout") {
  const auto a = run(groups({{1.f, 0.f}, {5.f, 1.f}}), AdvantageKind::kBatchStd, 0);
  const std::vector<double> all = {1, 0, 5, 1};
  CHECK(a.values[0][0] == doctest::Approx(0.5 / sample_std(all)));
  CHECK(a.values[1][1] == doctest::Approx(-2 / sample_std(all)));
}

TEST_CASE("a group of one has no baseline; equal rewards teach nothing") {
  for (auto kind :
       {AdvantageKind::kGroupZscore, AdvantageKind::kGroupMean, AdvantageKind::kBatchStd, AdvantageKind::kRloo}) {
    CAPTURE(to_string(kind));
    CHECK(run(groups({{0.7f}}), kind).values[0][0] == 0.7f);
    const auto equal = run(groups({{0.1f, 0.1f, 0.1f}, {1.f, 0.f}}), kind);
    CHECK(equal.values[0] == std::vector<float>{0.f, 0.f, 0.f});
    CHECK(equal.zero_std_groups == 1);
  }
  CHECK(run(groups({{0.1f, 0.1f}}), AdvantageKind::kNone).values[0] == std::vector<float>{0.1f, 0.1f});
}

TEST_CASE("samples without a reward take no part") {
  const auto a = run(groups({{1.f, std::nullopt, 0.f}, {std::nullopt, std::nullopt}, {1.f, std::nullopt}}),
                     AdvantageKind::kGroupMean);
  CHECK(a.values[0] == std::vector<float>{0.5f, 0.f, -0.5f});
  CHECK(a.values[1] == std::vector<float>{0.f, 0.f});
  CHECK(a.values[2] == std::vector<float>{0.f, 0.f});  // one voice in a group of two is no comparison
  CHECK(a.abstained_samples == 2);
  CHECK(a.abstained_groups == 1);
  CHECK(a.zero_std_groups == 0);
}

TEST_CASE("a reward that is not finite stops the run") {
  CHECK_THROWS_AS(run(groups({{1.f, std::numeric_limits<float>::quiet_NaN()}}), AdvantageKind::kGroupMean),
                  NumericError);
}

TEST_CASE("dynamic sampling keeps mixed verdicts with a spread of rewards") {
  using V = Verdict;
  CHECK(keeps_group(scored({1, 0}, {V::kCorrect, V::kWrong})));
  CHECK_FALSE(keeps_group(scored({1, 1}, {V::kCorrect, V::kCorrect})));
  CHECK_FALSE(keeps_group(scored({0, 0}, {V::kWrong, V::kUnparsed})));
  // All wrong, though a format reward spreads the values: still no mixed verdict.
  CHECK_FALSE(keeps_group(scored({0.2f, 0.f}, {V::kWrong, V::kUnparsed})));
  // Mixed verdicts whose rewards cancel: the advantage would be 0.
  CHECK_FALSE(keeps_group(scored({0.5f, 0.5f}, {V::kCorrect, V::kWrong})));
  // Number-only rewards have no verdict.
  CHECK(keeps_group(scored({0.5f, 0.4f}, {V::kAbstain, V::kAbstain})));
  // A kept group never has zero std.
  ScoredGroup aborted = scored({1, 0}, {V::kCorrect, V::kWrong});
  aborted.group.completions[1].stop = StopReason::kAborted;
  CHECK_FALSE(keeps_group(aborted));
}

TEST_CASE("GDPO of a single reward is its z-score times the weight; a reward that is equal in its group adds nothing") {
  ScoredGroup g = scored({1.f, 0.f, 0.f, 1.f}, std::vector<Verdict>(4, Verdict::kWrong)), h = g;
  for (Score& s : h.scores) s.parts["form"] = 7.f;
  AdvantageOptions o{AdvantageKind::kGdpo};
  o.weights = {{"math", 3.0}, {"form", 5.0}};
  o.batch_normalize = false;
  const auto z = run(groups({{1.f, 0.f, 0.f, 1.f}}), AdvantageKind::kGroupZscore);
  for (const ScoredGroup* one : {&g, &h}) {
    const std::vector<const ScoredGroup*> list = {one};
    const Advantages a = gdpo_advantages(list, o);
    for (int i = 0; i < 4; ++i) CHECK(a.values[0][i] == doctest::Approx(3 * z.values[0][i]));
  }
  // Two rewards that cancel in the sum are told apart: GRPO sees equal totals here.
  h.scores[0].parts = {{"math", 1.f}, {"form", 0.f}}, h.scores[1].parts = {{"math", 0.f}, {"form", 1.f}};
  h.scores[2].parts = h.scores[0].parts, h.scores[3].parts = h.scores[1].parts;
  for (Score& s : h.scores) s.value = 1.f;
  const std::vector<const ScoredGroup*> list = {&h};
  CHECK(gdpo_advantages(list, o).values[0][1] > 1);
  CHECK(gdpo_advantages(list, o).values[0][0] < -1);
}

TEST_CASE("process advantages: one step at the end of each answer is the outcome's z-score on each token") {
  const std::vector<std::vector<StepReward>> steps = {{{2, 1.f}}, {{1, 0.f}}, {{0, 0.f}}};
  const std::vector<std::size_t> lengths = {3, 2, 1};
  const auto a = process_advantages(steps, lengths, 1e-6);
  const auto z = run(groups({{1.f, 0.f, 0.f}}), AdvantageKind::kGroupZscore);
  for (std::size_t i = 0; i < 3; ++i) CHECK(a[i] == std::vector<float>(lengths[i], z.values[0][i]));
  // A token after the last step gets nothing; equal steps, or a single one, teach nothing.
  CHECK(process_advantages(std::vector<std::vector<StepReward>>{{{0, 1.f}}, {{0, 0.f}}}, std::vector<std::size_t>{2, 2}, 0)[0][1] == 0);
  CHECK(process_advantages(std::vector<std::vector<StepReward>>{{{0, 1.f}}, {}}, std::vector<std::size_t>{2, 2}, 0)[0][0] == 0);
  CHECK(process_advantages(std::vector<std::vector<StepReward>>{{{0, 1.f}, {1, 1.f}}, {}}, std::vector<std::size_t>{2, 2}, 0)[0][0] == 0);
  CHECK_THROWS_WITH_AS(process_advantages(std::vector<std::vector<StepReward>>{{{2, 1.f}}}, std::vector<std::size_t>{2}, 0),
                       doctest::Contains("token 2 of sample 0, which has 2 tokens"), DataError);
  const std::vector<std::vector<StepReward>> infinite = {{{0, std::numeric_limits<float>::infinity()}}};
  CHECK_THROWS_AS(process_advantages(infinite, std::vector<std::size_t>{2}, 0), NumericError);
}

TEST_CASE("names") {
  for (auto name : {"group_zscore", "group_mean", "batch_std", "rloo", "none", "gdpo", "process", "gae"})
    CHECK(std::string_view(to_string(parse_advantage_kind(name))) == name);
  CHECK_THROWS_AS(parse_advantage_kind("zscore"), ConfigError);
}

}  // namespace r1
