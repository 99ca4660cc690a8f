// Over-provisioned groups, and completions scored as they end: what is kept, what is counted, what is not waited for.
#include "rl/early_stop.h"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <set>
#include <thread>

#include "core/rng.h"
#include "rl/group_sampler.h"
#include "rl/table_run.h"
#include "rollout/scripted_engine.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

// Completion lengths by prompt index and sample.
int length_of(std::uint64_t prompt, int sample) { return 1 + static_cast<int>(mix64(prompt * 31 + static_cast<std::uint64_t>(sample)) % 9); }

Completion scripted(const RolloutRequest& r, int sample) {
  Completion c;
  c.tokens.assign(static_cast<std::size_t>(length_of(r.key.prompt, sample + static_cast<int>(r.key.sample))), 1);
  c.stop = StopReason::kEos;
  return c;
}

std::vector<GroupSampler::Item> items_of(std::size_t n) {
  std::vector<GroupSampler::Item> items;
  for (std::size_t i = 0; i < n; ++i) items.push_back({i, test::make_prompt("p" + std::to_string(i), {1, 2})});
  return items;
}

std::vector<Score> zero_scores(const SampleGroup& g) { return std::vector<Score>(g.completions.size()); }

// The rule, said once more: the `wanted` groups of shortest longest answer, the earlier first where equal.
std::set<std::string> by_rule(std::size_t groups, int samples, std::size_t wanted) {
  std::vector<std::pair<int, std::size_t>> keys;
  for (std::size_t g = 0; g < groups; ++g) {
    int longest = 0;
    for (int s = 0; s < samples; ++s) longest = std::max(longest, length_of(g, s));
    keys.emplace_back(longest, g);
  }
  std::sort(keys.begin(), keys.end());
  std::set<std::string> out;
  for (std::size_t i = 0; i < wanted; ++i) out.insert("p" + std::to_string(keys[i].second));
  return out;
}

std::set<std::string> names(const std::vector<ScoredGroup>& groups) {
  std::set<std::string> out;
  for (const ScoredGroup& g : groups) out.insert(g.group.prompt.id);
  return out;
}

}  // namespace

TEST_CASE("early stop: a group is lost as soon as the wanted ones are whole and it is longer, and only then") {
  EarlyStop stop({0, 1, 2}, 2, 2);
  stop.grew(2, 0, 9);
  CHECK(stop.take_lost().empty());  // the longest so far, but two groups are not whole
  stop.ended(0, 0, 3), stop.ended(0, 1, 5);
  stop.ended(1, 0, 4);
  CHECK(stop.take_lost().empty());
  stop.ended(1, 1, 7);
  CHECK(stop.take_lost() == std::vector<std::size_t>{2});  // 9 > 7
  CHECK(stop.take_lost().empty());
  std::map<std::string, double> m;
  stop.counts().report(m, 2);
  CHECK(m.at("early_stop/sampled_groups") == 3);
  CHECK(m.at("early_stop/dropped_groups") == 1);
  CHECK(m.at("early_stop/dropped_completions") == 0);
  CHECK(m.at("early_stop/dropped_tokens") == 9);
  CHECK(m.at("early_stop/kept_length") == doctest::Approx((3 + 5 + 4 + 7) / 4.0));
  CHECK(m.at("early_stop/dropped_length") == doctest::Approx(4.5));

  // A whole group is lost to a shorter one that ends later; a tie goes to the earlier prompt, which still runs.
  EarlyStop other({0, 1, 2}, 1, 1);
  other.ended(1, 0, 6);
  other.grew(0, 0, 6), other.grew(2, 0, 6);
  CHECK(other.take_lost() == std::vector<std::size_t>{2});
  CHECK_FALSE(other.lost(0));
  other.ended(0, 0, 6);
  CHECK(other.take_lost() == std::vector<std::size_t>{1});
}

TEST_CASE("early stop of several ranks: groups that are whole elsewhere make this one's lost; ties go by the prompt's place") {
  EarlyStop stop({1, 4}, 1, 2);
  stop.grew(0, 0, 5), stop.grew(1, 0, 5);
  stop.whole_elsewhere({3, 0});
  CHECK(stop.take_lost().empty());
  stop.whole_elsewhere({5, 3});
  CHECK(stop.take_lost() == std::vector<std::size_t>{1});  // 5 tokens as the one at place 3, but later; that at place 1 is earlier
  CHECK(stop.take_whole().empty());
  stop.ended(0, 0, 5);
  CHECK(stop.take_whole() == std::vector<EarlyStop::Key>{{5, 1}});
  CHECK_FALSE(stop.lost(0));
  const std::vector<EarlyStop::Key> all = {{9, 2}, {5, 6}, {5, 1}, {7, 0}};
  CHECK(shortest(all, 3) == std::vector<std::size_t>{3, 2, 1});
}

TEST_CASE("early stop: the groups that the rule names come back, in order, whatever ended first and what a journal knew") {
  const std::size_t groups = 9, wanted = 5;
  const auto want = by_rule(groups, 3, wanted);
  const auto run = [&](RolloutJournal::Contents known) {
    ScriptedEngine engine(scripted);
    RolloutJournal journal({});
    GroupSampler sampler(engine, {zero_scores, {}, {}}, journal, {3, {}, 1, 1});
    std::vector<ScoredGroup> kept = sampler.sample(items_of(groups), 0, known, {}, wanted);
    CHECK(kept.size() == groups);
    std::erase_if(kept, [](const ScoredGroup& g) { return g.group.completions.empty(); });
    CHECK(std::is_sorted(kept.begin(), kept.end(), [](const auto& a, const auto& b) { return a.group.prompt.id < b.group.prompt.id; }));
    for (const ScoredGroup& g : kept)
      for (const Completion& c : g.group.completions) CHECK(c.stop == StopReason::kEos);
    CHECK(sampler.early_stop().dropped_groups == static_cast<std::int64_t>(groups - wanted));
    CHECK(sampler.early_stop().dropped_tokens > 0);
    return names(kept);
  };
  CHECK(run({}) == want);
  // As after a kill: everything of the last groups, half of the others.
  RolloutJournal::Contents known;
  for (std::uint64_t g = 0; g < groups; ++g)
    for (int s = 0; s < (g > 4 ? 3 : 1); ++s) {
      RolloutRequest r;
      r.key.prompt = static_cast<decltype(r.key.prompt)>(g);
      known.completions[g][s] = scripted(r, s);
    }
  CHECK(run(known) == want);
}

TEST_CASE("early stop in a run: prompts are taken, counted and trained on as wanted; off, nothing of it shows") {
  test::RunOptions o;
  o.trainer.seed = 3;
  o.trainer.steps = 4;
  o.trainer.prompts_per_rollout = 4;
  o.trainer.samples_per_prompt = 3;
  o.trainer.sampling.max_new_tokens = 6;
  o.trainer.eval_every = 0, o.trainer.eval_at_start = false;
  struct Log : TrainObserver {
    std::vector<std::map<std::string, double>> steps;
    std::vector<std::size_t> groups;
    void on_step(const StepRecord& r) override { steps.push_back(r.metrics), groups.push_back(r.groups.size()); }
  } plain, early;
  test::TableRun(o, {}, {&plain}).trainer->run();
  for (const auto& m : plain.steps) CHECK_FALSE(m.contains("early_stop/dropped_groups"));
  o.trainer.early_stop = {true, 1.5};
  test::TableRun(o, {}, {&early}).trainer->run();
  for (const auto& m : early.steps) {
    CHECK(m.at("early_stop/sampled_groups") == 6);
    CHECK(m.at("early_stop/dropped_groups") == 2);
  }
  CHECK(early.groups == std::vector<std::size_t>(4, 4));
  o.trainer.dynamic.enabled = true;
  CHECK_THROWS_WITH_AS(test::TableRun(o, {}), doctest::Contains("enable one of them"), ConfigError);
}

TEST_CASE("rewards stream: a completion is scored while others of its group are still sampled") {
  std::atomic<int> scored{0}, finished{0};
  std::atomic<bool> in_time{false};
  // The second sample does not end before the first one's score is there, or before somebody who waits for the group gives up.
  ScriptedEngine engine([&](const RolloutRequest& r, int sample) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (sample == 1 && scored == 0 && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (sample == 1) in_time = scored > 0;
    return scripted(r, sample);
  });
  const auto alone = [&](const SampleGroup& g) {
    CHECK(g.completions.size() == 1);
    Score s;
    s.value = static_cast<float>(g.completions[0].tokens.size());
    ++scored;
    return std::vector<Score>{s};
  };
  const auto finish = [&](const SampleGroup& g, std::vector<Score>& scores) {
    CHECK(scores.size() == g.completions.size());
    ++finished;
  };
  RolloutJournal journal({});
  GroupSampler sampler(engine, {zero_scores, alone, finish}, journal, {3, {}, 1, 2});
  RolloutJournal::Contents known;
  const auto groups = sampler.sample(items_of(1), 0, known, {});
  CHECK(in_time);
  CHECK(scored == 3);
  CHECK(finished == 1);
  for (int s = 0; s < 3; ++s) CHECK(groups[0].scores[static_cast<std::size_t>(s)].value == static_cast<float>(length_of(0, s)));
}

TEST_CASE("rewards stream: the same run, bit for bit, journal and kills included") {
  test::RunOptions o;
  o.trainer.seed = 3;
  o.trainer.steps = 6;
  o.trainer.prompts_per_rollout = 6;
  o.trainer.samples_per_prompt = 4;
  o.trainer.sampling.max_new_tokens = 3;
  o.trainer.reward_threads = 2;
  o.trainer.eval_every = 0, o.trainer.eval_at_start = false;
  o.grpo.optimizer.learning_rate.peak = 0.1;
  test::TableRun whole(o, {});
  whole.trainer->run();
  o.stream_rewards = true;
  test::TableRun streamed(o, {});
  streamed.trainer->run();
  CHECK(streamed.policy->digest() == whole.policy->digest());
  struct Killed {};
  struct Killer : TrainObserver {
    int left = 30;
    void on_rollout_progress(const RolloutProgress&) override {
      if (--left == 0) throw Killed{};
    }
  } killer;
  const test::TempDir dir;
  {
    test::TableRun run(o, dir.path(), {&killer});
    CHECK_THROWS_AS(run.trainer->run(), Killed);
  }
  test::TableRun run(o, dir.path());
  run.trainer->resume();
  run.trainer->run();
  CHECK(run.policy->digest() == whole.policy->digest());
}

}  // namespace r1
