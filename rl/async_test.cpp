// Rollout and learning side by side: which weights drew what, the same bits however the threads are timed, killed runs.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cmath>
#include <cstring>
#include <thread>

#include <sys/wait.h>
#include <unistd.h>

#include "core/error.h"
#include "core/signals.h"
#include "rl/staleness.h"
#include "rl/table_run.h"
#include "rl/transformer_run.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

using test::TransformerRun;
using test::TransformerRunOptions;

struct Log : TrainObserver {
  std::vector<std::map<std::string, double>> steps;
  std::vector<std::string> messages;
  void on_step(const StepRecord& r) override { steps.push_back(r.metrics); }
  void on_message(const std::string& text) override { messages.push_back(text); }
};

TransformerRunOptions async_options(std::int64_t staleness, int updates) {
  TransformerRunOptions o = test::tiny_options();
  o.trainer.async.max_staleness = staleness;
  o.trainer.async.patience_s = 60;
  o.grpo.updates_per_rollout = updates;
  return o;
}

// A snapshot that stays as it is.
WeightSnapshot frozen(const WeightSnapshot& live) {
  WeightSnapshot out = live;
  auto memory = std::make_shared<std::vector<std::vector<std::byte>>>();
  for (TensorView& t : out.tensors) {
    memory->emplace_back(t.data, t.data + t.bytes());
    t.data = memory->back().data();
  }
  out.owner = memory;
  return out;
}

// The schedule, written down without threads: rollout r drawn by the weights after update max(rU - k, 0). For k = 0 it is the loop in turns.
WeightDigest simulated(const TransformerRunOptions& o) {
  TransformerRunOptions plain = o;
  plain.trainer.async.max_staleness = std::max<std::int64_t>(o.trainer.async.max_staleness, 1);  // an engine with weights of its own
  TransformerRun run(plain, {});
  GrpoLearner& learner = *run.learner;
  std::vector<WeightSnapshot> history = {frozen(learner.publish())};
  std::uint64_t cursor = 0;
  const std::int64_t updates = o.grpo.updates_per_rollout;
  for (std::int64_t step = 0; step < o.trainer.steps; ++step) {
    if (step % updates == 0) {
      const auto rollout = static_cast<std::uint64_t>(step / updates);
      run.engine->load_weights(history[static_cast<std::size_t>(std::max<std::int64_t>(step - o.trainer.async.max_staleness, 0))]);
      std::vector<RolloutRequest> requests;
      for (int i = 0; i < o.trainer.prompts_per_rollout; ++i, ++cursor)
        requests.push_back({run.prompts->at(cursor), o.trainer.samples_per_prompt, o.trainer.sampling, {o.trainer.seed, rollout, cursor, 0}});
      std::vector<ScoredGroup> groups;
      for (SampleGroup& g : generate(*run.engine, std::move(requests))) groups.push_back({g, test::score_even(g)});
      learner.begin_rollout(make_train_samples(groups, o.trainer.train_samples).samples, rollout);
    }
    learner.update();
    history.push_back(frozen(learner.publish()));
  }
  return run.policy->digest();
}

WeightDigest whole_run(const TransformerRunOptions& o, Log* log = nullptr) {
  TransformerRun run(o, {}, log ? std::vector<TrainObserver*>{log} : std::vector<TrainObserver*>{});
  run.trainer->run();
  return run.policy->digest();
}

// Scores late, by different times: the threads meet in other orders.
std::vector<Score> jittered(const SampleGroup& g) {
  static std::atomic<std::uint64_t> calls{0};
  std::this_thread::sleep_for(std::chrono::microseconds(mix64(++calls) % 6000));
  return test::score_even(g);
}

// Runs in a child process that kills itself when the n-th group is scored, or after an update; false if it came to its end before.
bool run_until_killed(TransformerRunOptions o, const std::filesystem::path& folder, int groups, std::int64_t at_step) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::atomic<int> left{groups};
    o.scorer = [&](const SampleGroup& g) {
      if (groups > 0 && --left == 0) kill(getpid(), SIGKILL);
      return test::score_even(g);
    };
    struct Killer : TrainObserver {
      std::int64_t step = 0;
      void on_step(const StepRecord& r) override {
        if (r.step == step) kill(getpid(), SIGKILL);
      }
    } killer;
    killer.step = at_step;
    try {
      TransformerRun run(o, folder, {&killer});
      run.trainer->resume();
      run.trainer->run();
    } catch (...) {
      _exit(3);
    }
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK((WIFSIGNALED(status) || (WIFEXITED(status) && WEXITSTATUS(status) == 0)));
  return WIFSIGNALED(status);
}

}  // namespace

TEST_CASE("staleness 0 is the loop in turns; 1, 2 and 3 are the schedule of the page: the same bits, however the threads are timed") {
  std::vector<WeightDigest> seen;
  for (const auto& [staleness, updates] : std::vector<std::pair<int, int>>{{0, 1}, {1, 1}, {2, 1}, {3, 1}, {0, 2}, {1, 2}, {2, 2}, {3, 2}}) {
    CAPTURE(staleness);
    CAPTURE(updates);
    TransformerRunOptions o = async_options(staleness, updates);
    const WeightDigest want = simulated(o);
    CHECK(whole_run(o) == want);
    CHECK(std::find(seen.begin(), seen.end(), want) == seen.end());  // and each differs from the others
    seen.push_back(want);
    if (staleness == 0) continue;
    o.scorer = jittered;
    o.trainer.reward_threads = 2;
    o.threads = 2;
    CHECK(whole_run(o) == want);
  }
}

TEST_CASE("each token carries its weights: staleness is what the schedule says, and the waits are measured") {
  for (const auto& [staleness, updates] : std::vector<std::pair<int, int>>{{1, 1}, {2, 1}, {1, 2}, {4, 2}}) {
    CAPTURE(staleness);
    CAPTURE(updates);
    Log log;
    TransformerRunOptions o = async_options(staleness, updates);
    o.grpo.exact = true;  // of what the present weights drew
    whole_run(o, &log);
    REQUIRE(log.steps.size() == 6);
    for (std::size_t s = 0; s < 6; s += static_cast<std::size_t>(updates)) {
      const auto& m = log.steps[s];
      const double want = static_cast<double>(std::min<std::size_t>(s, static_cast<std::size_t>(staleness)));
      CHECK(m.at("staleness/mean") == want);
      CHECK(m.at("staleness/max") == want);
      CHECK((m.at("mismatch/max_abs_logp") == 0) == (want == 0));  // stale tokens: the learner gives them other probabilities
      for (const char* name : {"time/rollout", "time/wait_rollout", "time/wait_learner"}) CHECK_MESSAGE(m.at(name) >= 0, name);
      CHECK(m.at("rollout/overlap_share") >= 0);
      CHECK(m.at("rollout/overlap_share") <= 1);
    }
  }
  Log log;
  whole_run(async_options(0, 1), &log);
  for (const auto& m : log.steps) {
    CHECK(m.at("staleness/max") == 0);
    CHECK(m.at("rollout/overlap_share") == 0);
  }
}

TEST_CASE("learning is hidden behind a slow rollout: the learner waits for less than the rollout takes") {
  TransformerRunOptions o = async_options(1, 1);
  o.scorer = [](const SampleGroup& g) {
    std::this_thread::sleep_for(std::chrono::milliseconds(25));
    return test::score_even(g);
  };
  // An update that takes as long.
  struct Slow : TrainObserver {
    std::vector<double> share;
    void on_step(const StepRecord& r) override {
      share.push_back(r.metrics.at("rollout/overlap_share"));
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  } slow;
  TransformerRun run(o, {}, {&slow});
  run.trainer->run();
  for (std::size_t s = 1; s < slow.share.size(); ++s) CHECK(slow.share[s] > 0.2);
}

TEST_CASE("killed in rollouts and between updates, staleness 1 and 2: the weights of the uninterrupted run") {
  for (const auto& [staleness, updates] : std::vector<std::pair<int, int>>{{1, 1}, {2, 1}, {1, 2}, {3, 2}}) {
    CAPTURE(staleness);
    CAPTURE(updates);
    TransformerRunOptions o = async_options(staleness, updates);
    o.trainer.save_every = updates == 1 ? 2 : 1;  // in the middle of a rollout too
    const WeightDigest want = simulated(o);
    for (const auto& [groups, step] : std::vector<std::pair<int, int>>{{2, 0}, {9, 0}, {0, 3}}) {
      CAPTURE(groups);
      CAPTURE(step);
      const test::TempDir dir;
      CHECK(run_until_killed(o, dir.path(), groups, step));
      run_until_killed(o, dir.path(), 3, 0);  // and once more, soon after, if so much is left to do
      TransformerRun run(o, dir.path());
      run.trainer->resume();
      run.trainer->run();
      CHECK(run.policy->digest() == want);
    }
  }
}

TEST_CASE("a checkpoint holds the rollouts that wait: after it, none of their completions is sampled again") {
  TransformerRunOptions o = async_options(2, 1);
  o.trainer.save_every = 3;
  const WeightDigest want = simulated(o);
  const test::TempDir dir;
  CHECK(run_until_killed(o, dir.path(), 0, 4));
  std::filesystem::remove_all(dir.path() / "journal");  // the checkpoint alone is enough
  std::atomic<int> groups{0};
  o.scorer = [&](const SampleGroup& g) {
    ++groups;
    return test::score_even(g);
  };
  TransformerRun run(o, dir.path());
  CHECK(run.trainer->resume() == 3);
  run.trainer->run();
  CHECK(run.policy->digest() == want);
  // At step 3 the weights after update 2 were offered: rollouts 3 and 4 are in the checkpoint, 5 alone was left.
  CHECK(groups == o.trainer.prompts_per_rollout);
}

TEST_CASE("a stop request finishes the rollout in progress, saves, and the run goes on as if nothing had been") {
  TransformerRunOptions o = async_options(1, 1);
  const WeightDigest want = simulated(o);
  for (const int at : {2, 9, 14}) {
    CAPTURE(at);
    const test::TempDir dir;
    std::atomic<int> left{at};
    TransformerRunOptions stopping = o;
    stopping.scorer = [&](const SampleGroup& g) {
      if (--left == 0) request_stop();
      return test::score_even(g);
    };
    {
      TransformerRun run(stopping, dir.path());
      CHECK_THROWS_AS(run.trainer->run(), Interrupted);
    }
    reset_stop_for_tests();
    TransformerRun run(o, dir.path());
    CHECK(run.trainer->resume().has_value());
    run.trainer->run();
    CHECK(run.policy->digest() == want);
  }
}

TEST_CASE("evaluation is of the weights of its step, and disturbs no rollout") {
  struct Watch : TrainObserver {
    std::vector<std::pair<std::int64_t, double>> rewards;
    void on_evaluation(std::int64_t step, const EvalReport& report) override {
      rewards.emplace_back(step, report.sampled->mean_reward);
      for (const EvalItem& item : report.items)
        for (const Completion& c : item.group.completions)
          for (const VersionRun& run : c.version_runs) CHECK(run.version == static_cast<WeightVersion>(step));
    }
  };
  for (const int staleness : {1, 2}) {
    TransformerRunOptions o = async_options(staleness, 1);
    const WeightDigest want = simulated(o);
    o.trainer.eval_every = 2, o.trainer.eval_at_start = true;
    o.trainer.eval.samples = 2;
    o.trainer.eval.sampling.max_new_tokens = 4;
    Watch first, second;
    {
      TransformerRun run(o, {}, {&first});
      run.trainer->run();
      CHECK(run.policy->digest() == want);
    }
    o.scorer = jittered;
    TransformerRun run(o, {}, {&second});
    run.trainer->run();
    CHECK(first.rewards.size() == 4);
    CHECK(first.rewards == second.rewards);
  }
}

TEST_CASE("dynamic sampling and early stop side by side: what waited in a checkpoint goes on as it was") {
  struct Killed {};
  struct Watch : Log {
    std::int64_t die_at = 0;
    void on_checkpoint(std::int64_t step, const std::filesystem::path&) override {
      if (step == die_at) throw Killed{};
    }
  };
  for (const bool dynamic : {true, false}) {
    CAPTURE(dynamic);
    test::RunOptions o;
    o.trainer.seed = 5;
    o.trainer.steps = 8;
    o.trainer.prompts_per_rollout = 4;
    o.trainer.samples_per_prompt = 3;
    o.trainer.sampling.max_new_tokens = dynamic ? 1 : 5;
    o.trainer.eval_at_start = false, o.trainer.eval_every = 0;
    o.trainer.save_every = 1;
    o.trainer.async.max_staleness = 2;
    o.trainer.async.patience_s = 60;
    o.grpo.optimizer.learning_rate.peak = 0.2;
    if (dynamic) o.trainer.dynamic = {true, 3, 1.5};
    else o.trainer.early_stop = {true, 1.5};
    Watch whole;
    test::TableRun run(o, {}, {&whole});
    run.trainer->run();
    for (const std::int64_t cut : {1, 4, 7}) {
      CAPTURE(cut);
      const test::TempDir dir;
      Watch first, second;
      first.die_at = cut;
      {
        test::TableRun killed(o, dir.path(), {&first});
        CHECK_THROWS_AS(killed.trainer->run(), Killed);
      }
      test::TableRun resumed(o, dir.path(), {&second});
      CHECK(resumed.trainer->resume() == cut);
      resumed.trainer->run();
      CHECK(resumed.policy->digest() == run.policy->digest());
      REQUIRE(second.steps.size() == whole.steps.size() - static_cast<std::size_t>(cut));
      for (std::size_t i = 0; i < second.steps.size(); ++i)
        for (const char* name :
             {"loss", "reward", "num_tokens", "staleness/mean", dynamic ? "dynamic_sampling/sampled" : "early_stop/dropped_groups"})
          CHECK(second.steps[i].at(name) == whole.steps[i + static_cast<std::size_t>(cut)].at(name));
    }
  }
}

TEST_CASE("a run that is extended after its end begins its pipeline anew, in a defined way") {
  TransformerRunOptions o = async_options(1, 1);
  WeightDigest ends[2];
  for (WeightDigest& end : ends) {
    const test::TempDir dir;
    TransformerRunOptions shorter = o;
    shorter.trainer.steps = 4;
    {
      TransformerRun run(shorter, dir.path());
      run.trainer->run();
    }
    TransformerRun run(o, dir.path());
    CHECK(run.trainer->resume() == 4);
    run.trainer->run();
    end = run.policy->digest();
  }
  CHECK(ends[0] == ends[1]);
}

TEST_CASE("the importance weight is applied to stale samples: the gradient is that of the present policy") {
  // One context, one token: E over the sampler of w A grad ln pi, w = pi / mu, by hand.
  ComputePool pool(1);
  TablePolicy policy(4, pool);
  const double logits[4] = {0.9, 0.1, -0.4, 0.2};
  for (int j = 0; j < 4; ++j) policy.logits()[static_cast<std::size_t>(j)] = static_cast<float>(logits[j]);
  policy.load(policy.weights(0));
  std::vector<float> master(16, 0.f);
  for (int j = 0; j < 4; ++j) master[static_cast<std::size_t>(j)] = static_cast<float>(logits[j]);
  policy.load({0, {{"table", DType::kF32, {4, 4}, reinterpret_cast<const std::byte*>(master.data()), -1}}, nullptr});
  const auto pi = policy.log_distribution(0, 1.f);
  const double mu = 0.25;
  std::vector<TrainSample> samples;
  std::vector<double> want(16, 0.0), without(16, 0.0);
  for (TokenId token = 0; token < 4; ++token) {
    const float advantage = token == 0 ? 1.f : -0.5f;
    TrainSample s;
    s.name = "s/" + std::to_string(token);
    s.tokens = {0, token};
    s.prompt_length = 1;
    s.group = 0;
    s.loss_mask = {0, 1};
    s.behavior_logprobs = {0.f, static_cast<float>(std::log(mu))};
    s.advantages = {0.f, advantage};
    samples.push_back(s);
    const double w = std::min(std::exp(pi[static_cast<std::size_t>(token)]) / mu, 2.0);
    for (int j = 0; j < 4; ++j) {
      const double slope = -advantage / 4 * ((j == token) - std::exp(pi[static_cast<std::size_t>(j)]));
      want[static_cast<std::size_t>(j)] += w * slope;
      without[static_cast<std::size_t>(j)] += slope;
    }
  }
  GrpoOptions o;
  o.stale_samples = true;
  o.loss.aggregation = Aggregation::kTokenMean;
  GrpoLearner learner(policy, nullptr, o);
  learner.begin_rollout(samples, 0);
  learner.update();
  const auto got = policy.gradient();
  double difference = 0;
  for (std::size_t j = 0; j < 4; ++j) {
    CHECK(got[j] == doctest::Approx(want[j]).epsilon(1e-4));
    difference += std::abs(want[j] - without[j]);
  }
  CHECK(difference > 0.05);

  // In a run: with staleness the correction changes the weights it ends with, without staleness there is nothing to correct.
  for (const int staleness : {0, 1}) {
    TransformerRunOptions run = async_options(staleness, 1);
    run.trainer.steps = 4;
    const WeightDigest corrected = whole_run(run);
    run.grpo.loss.mismatch = MismatchOptions("none");
    CHECK((whole_run(run) == corrected) == (staleness == 0));
  }
}

TEST_CASE("the toy task is learnt with staleness 1 and 2") {
  for (const int staleness : {1, 2}) {
    test::RunOptions o;
    o.trainer.seed = 3;
    o.trainer.steps = 120;
    o.trainer.prompts_per_rollout = 6;
    o.trainer.samples_per_prompt = 6;
    o.trainer.sampling.max_new_tokens = 1;
    o.trainer.eval_every = 0, o.trainer.eval_at_start = false;
    o.trainer.async.max_staleness = staleness;
    o.trainer.async.patience_s = 60;
    o.grpo.optimizer.learning_rate.peak = 0.1;
    Log log;
    test::TableRun run(o, {}, {&log});
    run.trainer->run();
    CHECK(run.skill() > 0.9);
    CHECK(log.steps.back().at("staleness/max") == staleness);
  }
}

}  // namespace r1
