#include "rl/train_samples.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/files.h"
#include "rl/rollout_journal.h"
#include "rl/rollout_metrics.h"
#include "rl/test_support.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

Completion completion(std::vector<TokenId> tokens, StopReason stop = StopReason::kEos) {
  Completion c;
  c.logprobs.assign(tokens.size(), -0.5f);
  c.tokens = std::move(tokens);
  c.stop = stop;
  c.version_runs = {{0, 7, {}}};
  return c;
}

Score score(float value, Verdict verdict = Verdict::kWrong) {
  Score s;
  s.value = value;
  s.parts["math"] = value;
  s.verdict = verdict;
  s.columns["math/verdict"] = to_string(verdict);
  return s;
}

ScoredGroup group(const std::string& id) {
  ScoredGroup g;
  g.group.prompt = test::make_prompt(id, {4, 5});
  g.group.completions = {completion({6, 7}), completion({6, 8, 9}, StopReason::kLength), completion({3})};
  g.scores = {score(1, Verdict::kCorrect), score(0), score(0, Verdict::kUnparsed)};
  return g;
}

TrainSampleOptions mean_only() {
  TrainSampleOptions o;
  o.advantage.kind = AdvantageKind::kGroupMean;
  return o;
}

}  // namespace

TEST_CASE("step rewards become advantages of the tokens up to them; a step outside its completion names the prompt") {
  std::vector<ScoredGroup> groups = {group("a")};
  groups[0].scores[0].steps = {{0, 1.f}, {1, 0.f}};
  groups[0].scores[1].steps = {{1, 1.f}};
  TrainSampleOptions o;
  o.advantage.kind = AdvantageKind::kProcess;
  const TrainSet set = make_train_samples(groups, o);
  const double std = std::sqrt(2.0 / 9 * 3 / 2), high = (1 - 2.0 / 3) / (std + 1e-6), low = (0 - 2.0 / 3) / (std + 1e-6);
  const auto& first = set.samples[0].advantages;
  CHECK(first[2] == doctest::Approx(high + low));
  CHECK(first[3] == doctest::Approx(low));
  CHECK(set.samples[1].advantages == std::vector<float>{0, 0, static_cast<float>(high), static_cast<float>(high), 0});
  CHECK(set.samples[2].advantages == std::vector<float>(3, 0.f));  // judged, but no step of it
  groups[0].scores[2].steps = {{1, 1.f}};
  CHECK_THROWS_WITH_AS(make_train_samples(groups, o), doctest::Contains("prompt a: a step reward ends at token 1 of sample 2"), DataError);
}

TEST_CASE("a group becomes samples: prompt once, mask and advantage on the drawn tokens") {
  const std::vector<ScoredGroup> groups = {group("a"), group("b")};
  const TrainSet set = make_train_samples(groups, mean_only());
  REQUIRE(set.samples.size() == 6);
  const TrainSample& s = set.samples[1];
  CHECK(s.name == "a/1");
  CHECK(s.tokens == std::vector<TokenId>{4, 5, 6, 8, 9});
  CHECK(s.prompt_length == 2);
  CHECK(s.loss_mask == std::vector<std::uint8_t>{0, 0, 1, 1, 1});
  CHECK(s.behavior_logprobs == std::vector<float>{0, 0, -0.5f, -0.5f, -0.5f});
  CHECK(s.advantages[4] == doctest::Approx(-1.0 / 3));
  CHECK(s.advantages[1] == 0);
  CHECK(s.oldest == 7);
  CHECK(set.samples[3].group == 1);
}

TEST_CASE("forced tokens, truncated answers, silent rewards, dropped groups") {
  std::vector<ScoredGroup> groups = {group("a"), group("b"), group("c")};
  groups[0].group.completions[1].sampled = {1, 0, 1};
  groups[1].scores[2].parts.clear();                                // abstained
  for (Score& s : groups[2].scores) s.parts.clear();
  TrainSampleOptions o = mean_only();
  const TrainSet plain = make_train_samples(groups, o);
  CHECK(plain.samples.size() == 5);
  CHECK(plain.abstained_groups == 1);
  CHECK(plain.abstained_samples == 1);
  CHECK(plain.samples[1].loss_mask == std::vector<std::uint8_t>{0, 0, 1, 0, 1});
  CHECK(plain.samples[3].advantages.back() == doctest::Approx(0.5));  // the mean of the two that were scored
  o.overlong_filter = true;
  const TrainSet filtered = make_train_samples(groups, o);
  CHECK(filtered.overlong_filtered == 2);
  CHECK(trained_tokens(filtered.samples[1]) == 0);
  CHECK(filtered.samples[0].advantages.back() == plain.samples[0].advantages.back());  // still part of the baseline
  const std::vector<std::uint8_t> kept = {0, 1, 0};
  const TrainSet one = make_train_samples(groups, o, kept);
  CHECK(one.samples.size() == 2);
  CHECK(one.samples[0].name == "b/0");
  CHECK(one.samples[0].group == 0);
}

TEST_CASE("a log-probability that cannot be is refused with its place") {
  std::vector<ScoredGroup> groups = {group("a")};
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity(), 0.5f}) {
    groups[0].group.completions[1].logprobs[2] = bad;
    CHECK_THROWS_WITH_AS(make_train_samples(groups, mean_only()), doctest::Contains("a/1, completion token 2"),
                         NumericError);
  }
}

TEST_CASE("metrics of a rollout") {
  std::vector<ScoredGroup> groups = {group("a"), group("b")};
  for (Score& s : groups[1].scores) s = score(0);
  groups[0].group.completions[0].entropies = {1.f, 2.f};
  groups[0].scores[0].columns["metric/depth"] = "2";  // what a user's reward logs of a group
  groups[1].scores[0].columns["metric/depth"] = "5";
  groups[1].scores[0].columns["mine/metric/depth"] = "7";
  groups[0].scores[0].columns["metric/reward"] = "9";
  const auto m = rollout_metrics(groups);
  CHECK(m.at("depth") == 3.5);
  CHECK(m.at("mine/depth") == 7);
  CHECK(m.at("user/reward") == 9);
  CHECK(m.at("reward") == doctest::Approx(1.0 / 6));
  CHECK(m.at("reward_std") == doctest::Approx(0.57735 / 2).epsilon(1e-4));
  CHECK(m.at("frac_reward_zero_std") == 0.5);
  CHECK(m.at("rewards/math/mean") == doctest::Approx(1.0 / 6));
  CHECK(m.at("completions/mean_length") == 2);
  CHECK(m.at("completions/max_length") == 3);
  CHECK(m.at("completions/mean_terminated_length") == 1.5);
  CHECK(m.at("completions/clipped_ratio") == doctest::Approx(1.0 / 3));
  CHECK(m.at("entropy") == 1.5);
  CHECK(m.at("accuracy") == doctest::Approx(1.0 / 6));
  CHECK(m.at("pass_at_g") == 0.5);
  CHECK(m.at("length/correct") == 2);
  CHECK(m.at("length/wrong") == 2);
  CHECK(m.at("verdict/math/ok") == doctest::Approx(1.0 / 6));
  CHECK(m.at("verdict/math/unparsed") == doctest::Approx(1.0 / 6));
  CHECK(m.at("abstained") == 0);
  CHECK(count_completion_tokens(groups) == 12);
  CHECK(count_tokens(groups) == 24);
  CHECK(rollout_metrics({}).empty());
}

TEST_CASE("the journal keeps rollouts until they are dropped, and only under their fingerprint") {
  const test::TempDir dir;
  Digest weights{}, others{};
  others[0] = 1;
  const ScoredGroup g = group("a");
  {
    RolloutJournal journal(dir.path());
    CHECK(journal.open(4, weights).completions.empty());
    journal.append_completion(70, 2, g.group.completions[1]);
    journal.append_scores(70, g.scores);
    journal.open(5, weights);
    journal.append_completion(80, 0, g.group.completions[0]);
  }
  RolloutJournal journal(dir.path());
  auto found = journal.open(4, weights);
  CHECK(found.completions.at(70).at(2).tokens == g.group.completions[1].tokens);
  CHECK(found.completions.at(70).at(2).logprobs == g.group.completions[1].logprobs);
  CHECK(found.scores.at(70)[0].value == 1);
  CHECK(journal.open(5, weights).completions.at(80).size() == 1);
  journal.drop_before(5);
  CHECK(journal.open(5, weights).completions.size() == 1);  // the one in progress stays
  CHECK(journal.open(5, others).completions.empty());       // other weights: not the same samples
  CHECK(journal.open(4, weights).completions.empty());
  RolloutJournal none{std::filesystem::path()};
  CHECK(none.open(1, weights).completions.empty());
  CHECK_NOTHROW(none.append_scores(1, g.scores));
}

}  // namespace r1
