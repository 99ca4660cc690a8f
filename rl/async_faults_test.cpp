// What goes wrong beside the learner, and weights that change within a rollout.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include <sys/wait.h>
#include <unistd.h>

#include "core/error.h"
#include "rl/forwarding_engine.h"
#include "rl/staleness.h"
#include "rl/table_run.h"
#include "rl/transformer_run.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

using test::TransformerRun;
using test::TransformerRunOptions;

TransformerRunOptions async_options(std::int64_t staleness) {
  TransformerRunOptions o = test::tiny_options();
  o.trainer.async.max_staleness = staleness;
  o.trainer.async.patience_s = 60;
  o.grpo.updates_per_rollout = 1;
  return o;
}

ScoredGroup drawn_by(std::vector<VersionRun> runs, std::size_t tokens) {
  ScoredGroup g;
  g.group.prompt.id = "p";
  g.group.completions.resize(1);
  g.group.completions[0].tokens.assign(tokens, 1);
  g.group.completions[0].version_runs = std::move(runs);
  g.scores.resize(1);
  return g;
}

// In rollouts after the first: holds the first completion that ends back until newer weights have come, so that the others go on under them.
class HoldingEngine : public test::ForwardingEngine {
 public:
  explicit HoldingEngine(RolloutEngine& inner, bool holds = true) : ForwardingEngine(inner), holds_(holds) {}
  void wait(const std::function<void(RolloutEvent&&)>& on_event, bool stream) override {
    const WeightVersion before = inner_.weight_version();
    bool held = ++rollouts_ == 1 || !holds_;
    inner_.wait(
        [&](RolloutEvent&& event) {
          for (int i = 0; !held && i < 2000 && inner_.weight_version() == before; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
          held = true;
          on_event(std::move(event));
        },
        stream);
  }

 private:
  bool holds_;
  int rollouts_ = 0;
};

// Slower than an update; counts who gives it weights.
class SlowEngine : public test::ForwardingEngine {
 public:
  explicit SlowEngine(RolloutEngine& inner) : ForwardingEngine(inner) {}
  void wait(const std::function<void(RolloutEvent&&)>& on_event, bool stream) override {
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
    inner_.wait(on_event, stream);
  }
  void load_weights(const WeightSnapshot& snapshot) override {
    ++(std::this_thread::get_id() == learner_ ? by_learner : by_rollout);
    inner_.load_weights(snapshot);
  }
  std::atomic<int> by_learner = 0, by_rollout = 0;

 private:
  const std::thread::id learner_ = std::this_thread::get_id();
};

}  // namespace

TEST_CASE("an engine that is idle when the due rollout has come takes the learner's weights where they lie, not a copy") {
  for (const int updates : {1, 2}) {
    CAPTURE(updates);
    TransformerRunOptions o = async_options(1);
    o.grpo.updates_per_rollout = updates;
    SlowEngine* slow = nullptr;
    o.around_engine = [&](RolloutEngine& inner) {
      auto made = std::make_unique<SlowEngine>(inner);
      slow = made.get();
      return made;
    };
    TransformerRun run(o, {});
    run.trainer->run();
    CHECK(slow->by_learner >= 2);
    CHECK(slow->by_rollout == 0);
  }
}

TEST_CASE("versions: stale or unknown weights are an error with the sample's name; staleness is over tokens") {
  const std::vector<ScoredGroup> groups = {drawn_by({{0, 3, {}}, {2, 5, {}}}, 6)};
  check_versions(groups, 3, 5);
  CHECK_THROWS_WITH_AS(check_versions(groups, 4, 5), doctest::Contains("sample p/0, completion token 0: drawn by weights of version 3"), Error);
  CHECK_THROWS_WITH_AS(check_versions(groups, 3, 4), doctest::Contains("completion token 2"), Error);
  std::map<std::string, double> m;
  add_staleness(groups, {}, 5, m);
  CHECK(m.at("staleness/max") == 2);
  CHECK(m.at("staleness/mean") == doctest::Approx(2 * 2.0 / 6));
  m.clear();
  const std::vector<std::uint8_t> kept = {0};
  add_staleness(groups, kept, 5, m);
  CHECK(m.empty());
}

TEST_CASE("an engine that keeps its old weights ends the run, in turns as well") {
  struct Deaf : HoldingEngine {
    explicit Deaf(RolloutEngine& inner) : HoldingEngine(inner, false) {}
    void load_weights(const WeightSnapshot&) override {}
  };
  for (const int staleness : {0, 1}) {
    TransformerRunOptions o = async_options(staleness);
    o.around_engine = [](RolloutEngine& inner) { return std::make_unique<Deaf>(inner); };
    TransformerRun run(o, {});
    CHECK_THROWS_WITH_AS(run.trainer->run(), doctest::Contains("did not take new weights"), Error);
  }
}

TEST_CASE("what ends the rollout's thread ends the run, with the rollout in front of the cause") {
  TransformerRunOptions o = async_options(1);
  std::atomic<int> left{10};
  o.scorer = [&](const SampleGroup& g) {
    if (--left == 0) throw DataError("broken reward");
    return test::score_even(g);
  };
  TransformerRun run(o, {});
  CHECK_THROWS_WITH_AS(run.trainer->run(), "rollout 2: broken reward", DataError);

  TransformerRunOptions refused = async_options(1);
  refused.trainer.sampling.max_new_tokens = 1 << 20;  // no context holds it
  TransformerRun other(refused, {});
  CHECK_THROWS_AS(other.trainer->run(), ConfigError);
}

TEST_CASE("what ends the learner ends the rollout in progress too, soon") {
  TransformerRunOptions o = async_options(2);
  struct Breaking : TrainObserver {
    void on_step(const StepRecord& r) override {
      if (r.step == 2) throw IoError("disk full");
    }
  } breaking;
  TransformerRun run(o, {}, {&breaking});
  CHECK_THROWS_WITH_AS(run.trainer->run(), "disk full", IoError);
}

TEST_CASE("every wait is bounded: a rollout that hangs, a learner that does not go on") {
  std::atomic<bool> released{false};
  TransformerRunOptions o = async_options(1);
  o.trainer.async.patience_s = 0.3;
  std::atomic<int> left{6};
  o.scorer = [&](const SampleGroup& g) {
    if (--left <= 0)
      while (!released) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return test::score_even(g);
  };
  {
    TransformerRun run(o, {});
    const char* want = "nothing has happened in the rollout thread for 0.3 s; it samples rollout 1, 16 of 16";
    CHECK_THROWS_WITH_AS(run.trainer->run(), doctest::Contains(want), Error);
    released = true;
  }
  struct Sleeping : TrainObserver {
    void on_step(const StepRecord& r) override {
      if (r.step == 2) std::this_thread::sleep_for(std::chrono::milliseconds(900));
    }
  } sleeping;
  o.scorer = {};
  TransformerRun run(o, {}, {&sleeping});
  CHECK_THROWS_WITH_AS(run.trainer->run(), doctest::Contains("the learner does not go on"), Error);
}

TEST_CASE("a rollout's thread that never ends does not keep the process: it says where it hangs and goes") {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    [[maybe_unused]] const auto* quiet = freopen("/dev/null", "w", stderr);
    TransformerRunOptions o = async_options(1);
    o.trainer.async.patience_s = 0.2;
    o.scorer = [](const SampleGroup& g) {
      while (true) std::this_thread::sleep_for(std::chrono::seconds(1));
      return test::score_even(g);
    };
    try {
      TransformerRun run(o, {});
      run.trainer->run();
    } catch (...) {
      _exit(3);  // not reached: the trainer's end comes first
    }
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 1);
}

TEST_CASE("free running: answers go on under newer weights, each token with its own version, none older than the bound") {
  for (const bool recompute : {true, false}) {
    CAPTURE(recompute);
    TransformerRunOptions o = async_options(1);
    o.trainer.async.free_running = true;
    o.engine.recompute_on_new_weights = recompute;
    o.around_engine = [](RolloutEngine& inner) { return std::make_unique<HoldingEngine>(inner); };
    struct Watch : TrainObserver {
      int mixed = 0;
      double oldest = 0;
      std::vector<double> rewards;
      void on_step(const StepRecord& r) override {
        oldest = std::max(oldest, r.metrics.at("staleness/max"));
        rewards.push_back(r.metrics.at("reward"));
        for (const ScoredGroup& g : r.groups)
          for (const Completion& c : g.group.completions) {
            mixed += c.version_runs.size() > 1;
            for (std::size_t v = 1; v < c.version_runs.size(); ++v) CHECK(c.version_runs[v].version > c.version_runs[v - 1].version);
          }
      }
    } watch;
    TransformerRun run(o, {}, {&watch});
    run.trainer->run();
    CHECK(watch.mixed > 0);
    CHECK(watch.oldest == 1);
  }
}

TEST_CASE("free running goes on after a kill: of the journal it takes what the checkpoint's own weights drew") {
  TransformerRunOptions o = async_options(1);
  o.trainer.async.free_running = true;
  o.trainer.save_every = 2;
  const test::TempDir dir;
  struct Killed {};
  struct Killer : TrainObserver {
    void on_step(const StepRecord& r) override {
      if (r.step == 3) throw Killed{};
    }
  } killer;
  {
    TransformerRun run(o, dir.path(), {&killer});
    CHECK_THROWS_AS(run.trainer->run(), Killed);
  }
  TransformerRun run(o, dir.path());
  CHECK(run.trainer->resume() == 2);
  run.trainer->run();
  CHECK(run.trainer->step() == 6);
}

}  // namespace r1
