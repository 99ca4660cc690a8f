// Rollout and learning side by side on several ranks: the bits of one process, kills, stops and errors, weights that change within rollouts.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <thread>

#include "core/error.h"
#include "rl/forwarding_engine.h"
#include "rl/ranks_run.h"
#include "rl/stop_test_support.h"
#include "tests/support/support.h"

namespace r1 {

using namespace test;

namespace {

TransformerRunOptions async_options(std::int64_t staleness, int updates = 1) {
  TransformerRunOptions o = rank_options();
  o.lanes = 2;
  o.trainer.async.max_staleness = staleness;
  o.trainer.async.patience_s = 60;
  o.grpo.updates_per_rollout = updates;
  return o;
}

// Scores late, by different times on each rank: the threads meet in other orders.
Scorer jittered(int rank) {
  return [rank](const SampleGroup& g) {
    static std::atomic<std::uint64_t> calls{0};
    std::this_thread::sleep_for(std::chrono::microseconds(mix64(++calls * 7 + static_cast<std::uint64_t>(rank)) % 20000));
    return score_even(g);
  };
}

// Gives its events late, so that weights change in the middle of rollouts.
class LateEngine : public test::ForwardingEngine {
 public:
  LateEngine(RolloutEngine& inner, int ms) : ForwardingEngine(inner), pause_(ms) {}
  void wait(const std::function<void(RolloutEvent&&)>& on_event, bool stream) override {
    inner_.wait(
        [&](RolloutEvent&& event) {
          std::this_thread::sleep_for(pause_);
          on_event(std::move(event));
        },
        stream);
  }

 private:
  std::chrono::milliseconds pause_;
};

// What must hold of every rollout, whatever the threads did.
struct Invariants : TrainObserver {
  double bound = 1;
  std::size_t groups = 5, samples = 4;
  int mixed = 0, rollouts = 0;
  void on_step(const StepRecord& r) override {
    if (r.groups.empty()) return;
    ++rollouts;
    R1_CHECK(r.metrics.at("staleness/max") <= bound, "staleness ", r.metrics.at("staleness/max"));
    R1_CHECK(r.groups.size() == groups, r.groups.size(), " groups");
    for (const ScoredGroup& g : r.groups) {
      R1_CHECK(g.group.completions.size() == samples && g.scores.size() == samples, g.group.prompt.id, ": ", g.group.completions.size(), " samples, ", g.scores.size(), " scores");
      for (const Completion& c : g.group.completions) {
        R1_CHECK(!c.version_runs.empty() && c.version_runs[0].start == 0 && c.stop != StopReason::kAborted, "a completion without versions, or cut");
        for (std::size_t v = 1; v < c.version_runs.size(); ++v) R1_CHECK(c.version_runs[v].version > c.version_runs[v - 1].version, "versions fall");
        mixed += c.version_runs.size() > 1;
      }
    }
  }
};

}  // namespace

TEST_CASE("staleness 1, 2 and 3 with one and two updates a rollout: two ranks have the bits of one process, weights and metrics, whatever meets when") {
  for (const auto& [staleness, updates] : std::vector<std::pair<int, int>>{{1, 1}, {2, 1}, {1, 2}, {3, 2}}) {
    CAPTURE(staleness);
    CAPTURE(updates);
    const TransformerRunOptions o = async_options(staleness, updates);
    const std::string want = train(o, nullptr);
    same_on_all(run_ranks(2, [&](Session& s) {
      TransformerRunOptions mine = o;
      mine.scorer = jittered(s.rank());
      mine.trainer.reward_threads = 2;
      return train(mine, &s);
    }), want);
  }
}

TEST_CASE("with shared-out state, weights in shares, LoRA, dynamic sampling and evaluations beside it: the bits of one process") {
  for (const int kind : {0, 1, 2, 3, 4}) {
    CAPTURE(kind);
    TransformerRunOptions o = async_options(1);
    o.trainer.steps = 4;
    o.grpo.tokens_per_micro_batch = 10'000;  // a micro-batch a lane: the same order of sums whatever is sharded
    if (kind == 3) o.lora = true;
    if (kind == 4) {
      o.trainer.dynamic = {true, 3, 1.3};
      o.trainer.eval_every = 2, o.trainer.eval_at_start = true, o.trainer.eval.sampling = o.trainer.sampling;
    }
    const std::string want = train(o, nullptr);
    o.zero = kind == 1 ? 1 : kind == 2 ? 3 : 0;
    same_on_all(run_ranks(2, [&](Session& s) { return train(o, &s); }), want);
  }
}

TEST_CASE("kill -9 of a rank, staleness 1 and 3: it is named by the other, and one rank and two go on to the weights of the uninterrupted run") {
  struct Case { int staleness, updates, begun, victim; std::int64_t step; int resumed; };
  for (const Case c : {Case{1, 1, 2, 1, 3, 2}, {1, 1, 2, 0, 4, 1}, {3, 2, 2, 1, 5, 1}, {1, 1, 1, 0, 3, 2}}) {
    CAPTURE(c.staleness);
    CAPTURE(c.victim);
    CAPTURE(c.resumed);
    TransformerRunOptions o = async_options(c.staleness, c.updates);
    const std::string want = digest_line(train(o, nullptr));
    const TempDir dir;
    others_name(run_ranks(c.begun, [&](Session& s) { return go_on(o, s, dir.path(), {c.victim, c.step}); }), c.victim);
    same_on_all(run_ranks(c.resumed, [&](Session& s) { return go_on(o, s, dir.path()); }), want);
  }
}

TEST_CASE("a stop of one rank: the rollout in progress ends, all leave at the same step, and the run goes on as if nothing had been") {
  TransformerRunOptions o = async_options(1);
  const std::string want = digest_line(train(o, nullptr));
  const TempDir dir;
  stop_both(dir.path(), [&](Session&) { return o; }, [](Session& s) {
    auto stop = std::make_unique<AtStep>();
    stop->call = [&s](const StepRecord& record) {
      if (s.rank() == 1 && record.step == 3) raise(SIGTERM);
    };
    return stop;
  });
  same_on_all(run_ranks(2, [&](Session& s) {
    TransformerRunOptions mine = o;
    mine.session = &s;
    TransformerRun run(mine, dir.path());
    const auto at = run.trainer->resume();
    R1_CHECK(at && *at >= 3 && *at < 6, "no checkpoint of the stop");
    run.trainer->run();
    return to_hex(run.policy->digest());
  }), want);
}

TEST_CASE("what ends the rollout's thread or the learner of one rank ends all, soon, with its cause") {
  for (const bool in_rollout : {true, false}) {
    CAPTURE(in_rollout);
    const auto start = std::chrono::steady_clock::now();
    const auto results = run_ranks(2, [&](Session& s) -> std::string {
      TransformerRunOptions mine = async_options(2);
      mine.session = &s;
      mine.trainer.steps = 1000;
      mine.trainer.save_every = 0;
      std::atomic<int> left{in_rollout && s.rank() == 1 ? 8 : -1};
      mine.scorer = [&](const SampleGroup& g) {
        if (--left == 0) throw DataError("broken reward");
        return score_even(g);
      };
      AtStep breaking;
      breaking.call = [&](const StepRecord& r) {
        if (!in_rollout && s.rank() == 1 && r.step == 3) throw IoError("disk full");
      };
      TransformerRun run(mine, {}, {&breaking});
      run.trainer->run();
      return "not reached";
    });
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(15));
    const std::string cause = in_rollout ? ": broken reward" : "disk full";
    for (const auto& r : results) {
      CAPTURE(r.output);
      CHECK(r.status == 1);
      CHECK(r.output.ends_with(cause));
    }
    CHECK(results[0].output.find("error: rank 1 (process ") == 0);
  }
}

TEST_CASE("free running on two ranks: nothing lost or doubled, versions within the bound, the same weights and sums on both; it goes on after a kill") {
  TransformerRunOptions o = async_options(1);
  o.trainer.async.free_running = true;
  o.trainer.sampling.max_new_tokens = 30;
  o.trainer.steps = 8;
  const TempDir dir;
  for (const bool dies : {true, false}) {
    CAPTURE(dies);
    const auto results = run_ranks(2, [&](Session& s) -> std::string {
      TransformerRunOptions mine = o;
      mine.session = &s;
      mine.around_engine = [&](RolloutEngine& inner) { return std::make_unique<LateEngine>(inner, s.rank() == 0 ? 1 : 4); };
      Invariants watch;
      std::string numbers;
      AtStep log;
      log.call = [&](const StepRecord& r) {
        if (dies && s.rank() == 1 && r.step == 5) kill(getpid(), SIGKILL);
        for (const char* name : {"loss", "grad_norm", "staleness/mean"}) numbers += message(name, " ", r.metrics.at(name), "\n");
      };
      TransformerRun run(mine, dir.path(), {&watch, &log});
      const auto at = run.trainer->resume();
      R1_CHECK(dies || at == 4, "no checkpoint");
      run.trainer->run();
      R1_CHECK(run.trainer->step() == 8 && watch.rollouts == 4, watch.rollouts, " rollouts");
      return to_hex(run.policy->digest()) + numbers + (watch.mixed > 0 ? "mixed" : "not mixed");
    });
    if (dies) {
      CHECK(results[0].status == 1);
      CHECK(results[0].output.find("error: rank 1") == 0);
      continue;
    }
    same_on_all(results, results[0].output);
    CHECK(results[0].output.ends_with("mixed"));
  }
}

TEST_CASE("ranks that share one model refuse a rollout beside the learner, by name") {
  for (const auto& r : run_ranks(2, [](Session& s) {
         TransformerRunOptions o = async_options(1);
         o.session = &s;
         o.lanes = 1;
         o.sequence_parallel = 2;
         o.config_edits = {{"\"num_key_value_heads\": 1", "\"num_key_value_heads\": 2"}};
         TransformerRun run(o, {});
         return std::string();
       }))
    CHECK_MESSAGE(r.output.find("rl.max_staleness is 1: the rollout beside the learner needs a whole model on each rank") != std::string::npos, r.output);
}

}  // namespace r1
