// What happens when ranks die, fail, hang, stop, or never come.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <mutex>
#include <thread>

#include "comm/ranks_test_support.h"
#include "tests/support/errors.h"

namespace r1 {
namespace {

SessionOptions quick() {
  SessionOptions o;
  o.timeout_s = 20, o.start_timeout_s = 20, o.silence_s = 20, o.grace_s = 5;
  return o;
}

void work_forever(Session& s, test::SharedCount* begun = nullptr) {
  s.comm().barrier("the first barrier");
  if (begun) begun->add();
  for (int i = 0;; ++i) {
    s.phase("round " + std::to_string(i));
    s.comm().barrier("a barrier");
    usleep(1000);
  }
}

}  // namespace

TEST_CASE("a killed rank: the others end at once, with who it was and what it did") {
  for (int victim : {0, 1, 2}) {
    CAPTURE(victim);
    test::SharedCount begun;
    test::ForkedRanks ranks(3, quick(), [&](Session& s) -> std::string {
      work_forever(s, &begun);
      return {};
    });
    begun.wait_for(3);
    usleep(20000);
    kill(ranks.pid(victim), SIGKILL);
    const auto start = CommClock::now();
    const auto results = ranks.results();
    CHECK(CommClock::now() - start < std::chrono::seconds(15));
    for (int r = 0; r < 3; ++r) {
      const auto& result = results[static_cast<std::size_t>(r)];
      CAPTURE(result.output);
      CHECK(result.status == (r == victim ? -SIGKILL : 1));
      if (r != victim) CHECK(test::contains(result.output, "error: rank " + std::to_string(victim)));
      if (r != victim && victim != 0) CHECK(test::contains(result.output, "in \"round "));
    }
  }
}

TEST_CASE("a rank that throws: the others say what it said") {
  const auto results = test::run_ranks(3, [](Session& s) -> std::string {
    if (s.rank() == 1) throw NumericError("the loss is NaN");
    work_forever(s);
    return {};
  }, quick());
  CHECK(results[1].output == "error: the loss is NaN");
  for (int r : {0, 2}) {
    CAPTURE(results[static_cast<std::size_t>(r)].output);
    CHECK(test::contains(results[static_cast<std::size_t>(r)].output, "error: rank 1 (process "));
    CHECK(test::contains(results[static_cast<std::size_t>(r)].output, ") ended the run: the loss is NaN"));
  }
}

TEST_CASE("a stopped process is found by its silence, a lost rendezvous too") {
  for (int victim : {0, 2}) {
    CAPTURE(victim);
    SessionOptions o = quick();
    o.silence_s = 3;
    test::SharedCount begun;
    test::ForkedRanks ranks(3, o, [&](Session& s) -> std::string {
      work_forever(s, &begun);
      return {};
    });
    begun.wait_for(3);
    usleep(20000);
    kill(ranks.pid(victim), SIGSTOP);
    usleep(4500000);
    kill(ranks.pid(victim), SIGKILL);
    const auto results = ranks.results();
    for (int r = 0; r < 3; ++r) {
      if (r == victim) continue;
      CAPTURE(results[static_cast<std::size_t>(r)].output);
      CHECK(results[static_cast<std::size_t>(r)].status == 1);
      CHECK(test::contains(results[static_cast<std::size_t>(r)].output, "sign of life for 3 s"));
      CHECK(test::contains(results[static_cast<std::size_t>(r)].output, "error: rank " + std::to_string(victim)));
    }
  }
}

TEST_CASE("a rank whose work never ends: the wait is bounded and the table of phases says who is where") {
  SessionOptions o = quick();
  o.timeout_s = 1, o.grace_s = 0.5;
  const auto results = test::run_ranks(3, [](Session& s) -> std::string {
    if (s.rank() == 1) {
      s.phase("rollout 7: generation");
      while (true) usleep(10000);  // does not even ask whether the run has ended
    }
    s.phase("rollout 7: waiting");
    s.comm().barrier("the gather of groups");
    return {};
  }, o);
  for (int r : {0, 2}) {
    CAPTURE(results[static_cast<std::size_t>(r)].output);
    CHECK(test::contains(results[static_cast<std::size_t>(r)].output, "\"the gather of groups\""));
    CHECK(test::contains(results[static_cast<std::size_t>(r)].output, "rollout 7: generation for "));
  }
  CHECK(results[1].status == 1);  // ended with the cause after the grace time
}

TEST_CASE("SIGTERM to one rank is a stop of all") {
  test::SharedCount begun;
  test::ForkedRanks ranks(3, quick(), [&](Session& s) -> std::string {
    install_stop_signals();
    begun.add();
    for (;;) {
      // All leave in the same round: the flag is agreed on.
      float stop = stop_requested() ? 1.f : 0.f;
      s.comm().all_reduce(&stop, DType::kF32, 1, "stop?");
      if (stop > 0) throw_if_stopped(), throw Interrupted("another rank was stopped");
      usleep(1000);
    }
  });
  begun.wait_for(3);
  kill(ranks.pid(1), SIGTERM);
  for (const auto& r : ranks.results()) {
    CAPTURE(r.output);
    CHECK(r.status == 130);
  }
}

TEST_CASE("posts reach rank 0 in order; phases and a normal end leave no error") {
  const auto results = test::run_ranks(3, [](Session& s) -> std::string {
    std::mutex mutex;
    std::vector<std::string> got(3);
    s.set_post_handler([&](int rank, std::string_view text) {
      const std::lock_guard lock(mutex);
      got[static_cast<std::size_t>(rank)] += text;
    });
    s.comm().barrier("ready");
    for (int i = 0; i < 50; ++i) s.post(std::to_string(i % 10));
    s.comm().barrier("sent");
    if (s.rank() != 0) return "ok";
    for (int i = 0; i < 500; ++i) {
      usleep(10000);
      const std::lock_guard lock(mutex);
      if (got[0].size() == 50 && got[1].size() == 50 && got[2].size() == 50) break;
    }
    const std::lock_guard lock(mutex);
    for (const auto& g : got) R1_CHECK(g.size() == 50 && g.starts_with("0123456789012"), "posts arrived as ", g);
    s.set_post_handler({});
    return "ok";
  }, quick());
  for (const auto& r : results) CHECK(r.output == "ok");
}

TEST_CASE("a rank that never comes, and one of another run, are named") {
  SessionOptions o = quick();
  o.start_timeout_s = 0.5;
  Launch launch;
  launch.world = 2, launch.port = test::free_port(), launch.run_id = "test";
  CHECK_THROWS_WITH_AS(Session(launch, o), doctest::Contains("rank 1 of 2 did not come within 0.5 s"), CommError);
  launch.rank = 1;
  CHECK_THROWS_WITH_AS(Session(launch, o), doctest::Contains("found no rank 0 at 127.0.0.1"), CommError);
  // A stray process of another start.
  const int port = test::free_port();
  RendezvousServer server(std::move(*Socket::listen(port)), Launch{0, 2, 0, 1, "test", "127.0.0.1", port, 1, "run-a"}, {});
  CHECK_THROWS_WITH_AS(RendezvousClient(Launch{1, 2, 0, 1, "test", "127.0.0.1", port, 1, "run-b"}, {0.5, 10, 60}, {}), doctest::Contains("this is run run-a, not run-b"), CommError);
}

TEST_CASE("a session beside another: a second thread's operations need not be in the order of the first's") {
  const auto results = test::run_ranks(3, [](Session& s) -> std::string {
    const auto second = s.beside("second");
    std::string of_second;
    std::thread thread([&] {
      for (int i = 0; i < 50; ++i) {
        if (s.rank() == i % 3) usleep(500);
        of_second = second->comm().gather_bytes(std::to_string(s.rank() * 100 + i), "the second's")[2];
      }
    });
    std::string of_first;
    for (int i = 0; i < 50; ++i) {
      if (s.rank() == (i + 1) % 3) usleep(500);
      of_first = s.comm().gather_bytes(std::to_string(s.rank() * 1000 + i), "the first's")[1];
    }
    thread.join();
    return of_first + " " + of_second;
  }, quick());
  for (const auto& r : results) CHECK(r.output == "1049 249");
}

TEST_CASE("one that is given up ends its own rank's operation and no run; the death of a rank ends both") {
  const auto results = test::run_ranks(2, [](Session& s) -> std::string {
    const auto second = s.beside("second");
    if (s.rank() == 0) {
      std::thread gives_up([&] {
        usleep(100000);
        second->give_up();
      });
      std::string text;
      try {
        second->comm().barrier("a wait for nobody");
      } catch (const CommError& e) {
        text = e.what();
      }
      gives_up.join();
      R1_CHECK(test::contains(text, "a wait for nobody: given up"), text);
    }
    s.comm().barrier("the run goes on");
    return "done";
  }, quick());
  for (const auto& r : results) CHECK(r.output == "done");

  test::SharedCount begun;
  test::ForkedRanks ranks(2, quick(), [&](Session& s) -> std::string {
    const auto second = s.beside("second");
    s.comm().barrier("the beginning");
    begun.add();
    if (s.rank() == 1) sleep(60);
    s.phase("learning");
    second->phase("sampling");
    second->comm().barrier("what does not come");
    return {};
  });
  begun.wait_for(2);
  usleep(300000);
  kill(ranks.pid(1), SIGKILL);
  CHECK(test::contains(ranks.results()[0].output, "error: rank 1 (process "));
}

TEST_CASE("what a rank tells reaches all others, in its order") {
  const auto results = test::run_ranks(3, [](Session& s) -> std::string {
    std::mutex mutex;
    std::string heard;
    const auto second = s.beside("second");
    second->set_tell_handler([&](std::string_view payload) {
      const std::lock_guard lock(mutex);
      heard += payload;
    });
    s.comm().barrier("all listen");
    if (s.rank() != 1)
      for (int i = 0; i < 3; ++i) second->tell(std::to_string(s.rank() * 10 + i) + " ");
    for (int i = 0; i < 5000; ++i) {
      usleep(1000);
      const std::lock_guard lock(mutex);
      if (std::count(heard.begin(), heard.end(), ' ') >= (s.rank() == 1 ? 6 : 3)) break;
    }
    s.comm().barrier("all have heard");
    second->set_tell_handler({});
    return heard;
  }, quick());
  CHECK(results[0].output == "20 21 22 ");
  CHECK(results[2].output == "0 1 2 ");
  CHECK(results[1].output.size() == 15);
  CHECK(test::contains(results[1].output, "20 "));
  CHECK(results[1].output.find("0 ") < results[1].output.find("1 "));
}

}  // namespace r1
