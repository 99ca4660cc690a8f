// What is left when a rank dies, stops or computes NaN, or is told to stop.
#include <doctest/doctest.h>

#include <csignal>
#include <limits>

#include "core/error.h"
#include "rl/ranks_run.h"
#include "rl/stop_test_support.h"
#include "tests/support/support.h"

namespace r1 {

using namespace test;

TEST_CASE("kill -9 of one of three ranks at any step: the others name it, and the run resumes to the same weights") {
  TransformerRunOptions o = rank_options();
  o.lanes = 4;
  o.trainer.steps = 6;
  o.trainer.save_every = 2;
  const std::string want = digest_line(test::run_ranks(3, [&](Session& s) { return train(o, &s); })[0].output);
  for (const test::Death k : {test::Death{1, 1}, {0, 3}, {2, 5}}) {
    CAPTURE(k.rank);
    const test::TempDir dir;
    test::others_name(test::run_ranks(3, [&](Session& s) { return test::go_on(o, s, dir.path(), {k.rank, k.step}); }), k.rank);
    same_on_all(test::run_ranks(3, [&](Session& s) { return test::go_on(o, s, dir.path()); }), want);
  }
}

TEST_CASE("a rank whose gradient is NaN, whatever is sharded: its cause ends all ranks") {
  for (int zero : {0, 1, 2, 3}) {
    CAPTURE(zero);
    TransformerRunOptions o = rank_options();
    o.zero = zero;
    const auto results = test::run_ranks(3, [&](Session& s) -> std::string {
      TransformerRunOptions mine = o;
      mine.session = &s;
      TransformerRun run(mine, {});
      auto& arena = dynamic_cast<TransformerPolicy&>(*run.policy).arena();
      // Poison: what this rank's backward pass adds to is not a number.
      struct Poison : TrainObserver {
        std::function<void()> call;
        void on_rollout_start(std::uint64_t rollout, std::int64_t) override { call(); }
      };
      int done = 0;
      Poison poison;
      poison.call = [&] { ++done; };
      run.trainer->add_observer(&poison);
      const auto hook = [&](std::int64_t begin, std::int64_t end) {
        if (s.rank() == 1 && done == 2 && begin == 0) arena.gradient()[3] = std::numeric_limits<float>::quiet_NaN();
        if (arena.gradient_is_sharded()) arena.gradient_ready(begin, end);
      };
      run.model->set_gradient_hook(hook);
      run.trainer->run();
      return "not reached";
    });
    for (const auto& r : results) {
      CAPTURE(r.output);
      CHECK(r.status == 1);
      CHECK(r.output.find("the gradient of model.embed_tokens.weight is ") != std::string::npos);
      CHECK(r.output.find("at element 3") != std::string::npos);
    }
    CHECK(results[0].output.find("error: rank 1 (process ") == 0);
  }
}

TEST_CASE("a rank that is stopped (SIGSTOP) in the middle of a rollout is lost, and said to be") {
  TransformerRunOptions o = rank_options();
  SessionOptions session;
  session.silence_s = 4;
  test::ForkedRanks ranks(3, session, [&](Session& s) -> std::string {
    TransformerRunOptions mine = o;
    mine.session = &s;
    mine.trainer.steps = 100000;
    mine.trainer.save_every = 0;
    AtStep stop;
    stop.call = [&](const StepRecord& r) {
      if (s.rank() == 2 && r.step == 2) raise(SIGSTOP);
    };
    TransformerRun run(mine, {}, {&stop});
    run.trainer->run();
    return {};
  });
  int status = 0;
  waitpid(ranks.pid(2), &status, WUNTRACED);
  CHECK(WIFSTOPPED(status));
  usleep(6000000);
  kill(ranks.pid(2), SIGKILL);
  const auto results = ranks.results();
  for (int r : {0, 1}) {
    CAPTURE(results[static_cast<std::size_t>(r)].output);
    CHECK(results[static_cast<std::size_t>(r)].status == 1);
    CHECK(results[static_cast<std::size_t>(r)].output.find("error: rank 2 (process ") == 0);
    CHECK(results[static_cast<std::size_t>(r)].output.find("no sign of life for 4 s") != std::string::npos);
  }
}

TEST_CASE("a stop of one rank is one of all: each leaves at the same place, rank 0 has saved, and the run goes on to the same weights") {
  TransformerRunOptions o = rank_options();
  o.lanes = 2;
  o.trainer.save_every = 0;
  const std::string want = digest_line(test::run_ranks(2, [&](Session& s) { return train(o, &s); })[0].output);
  const test::TempDir dir;
  test::stop_both(dir.path(), [&](Session&) { return o; }, [](Session& s) { return std::make_unique<test::StopOfSecondRank>(s.rank()); });
  same_on_all(test::run_ranks(2, [&](Session& s) {
    TransformerRunOptions mine = o;
    mine.session = &s;
    TransformerRun run(mine, dir.path());
    const auto at = run.trainer->resume();
    R1_CHECK(at && *at >= 2 && *at < 6, "no checkpoint of the stop");
    run.trainer->run();
    return to_hex(run.policy->digest());
  }), want);
}

}  // namespace r1
