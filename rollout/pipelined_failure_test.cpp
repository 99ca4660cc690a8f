// The pipelined engine when the device fails, when other threads load weights and cancel, and when samples wait with known tokens.
#include <doctest/doctest.h>

#include <atomic>
#include <map>
#include <thread>

#include "core/error.h"
#include "rollout/instant_step_device.h"
#include "rollout/pipelined_engine.h"

namespace r1 {
namespace {

using test::InstantStepDevice;

RolloutRequest request_of(std::uint64_t number, int samples, int max_new_tokens) {
  RolloutRequest r;
  r.prompt.id = message("prompt-", number);
  for (std::uint64_t i = 0; i < 3 + number * 5 % 40; ++i) r.prompt.tokens.push_back(static_cast<TokenId>((number * 31 + i * 7) % 500));
  r.samples = samples;
  r.sampling.max_new_tokens = max_new_tokens;
  r.sampling.ignore_eos = true;
  r.key = {42, 3, number, 0};
  return r;
}

using Results = std::vector<std::vector<std::vector<TokenId>>>;
Results run(RolloutEngine& engine, const std::vector<RolloutRequest>& requests) {
  Results out;
  for (const SampleGroup& g : generate(engine, requests)) {
    out.emplace_back();
    for (const Completion& c : g.completions) out.back().push_back(c.tokens);
  }
  return out;
}

std::vector<RolloutRequest> some_requests() {
  std::vector<RolloutRequest> out;
  for (std::uint64_t i = 0; i < 6; ++i) out.push_back(request_of(i, 1 + static_cast<int>(i % 3), 30));
  return out;
}

void load(RolloutEngine& engine, WeightVersion version) { engine.load_weights({version, {}, nullptr}); }

TEST_CASE("a device that fails to launch or to collect ends all requests, whatever it throws; the engine lives on") {
  const auto requests = some_requests();
  InstantStepDevice sound({});
  PipelinedEngine reference(sound, nullptr);
  const Results want = run(reference, requests);
  for (int at = 1; at < 30; at += 4) {
    CAPTURE(at);
    InstantStepDevice device({});
    PipelinedEngine engine(device, nullptr);
    const auto fails = [&](auto expected) {
      for (const RolloutRequest& r : requests) engine.submit(r);
      CHECK_THROWS_AS(engine.wait([](RolloutEvent&&) {}), decltype(expected));
      CHECK(device.steps_in_flight() == 0);
      int events = 0;
      engine.wait([&](RolloutEvent&&) { ++events; });
      CHECK(events == 0);  // every request has ended
      CHECK(run(engine, requests) == want);
    };
    device.launches_until_failure = at;
    fails(IoError(""));
    device.collects_until_failure = at;
    fails(int{});
    device.launches_until_nan = at;
    fails(NumericError(""));
    // The error of a callback finds two steps in flight; collecting one of these fails as well.
    for (const RolloutRequest& r : requests) engine.submit(r);
    device.collects_until_failure = 2;
    CHECK_THROWS_AS(engine.wait([](RolloutEvent&&) { throw ConfigError("no"); }, true), ConfigError);
    CHECK(device.steps_in_flight() == 0);
    CHECK(run(engine, requests) == want);
  }
}

TEST_CASE("draws lost while weights are loaded end the rollout with their error; the weights are loaded") {
  for (const bool nan : {true, false}) {
    CAPTURE(nan);
    InstantStepDevice device({}), sound({});
    PipelinedEngine engine(device, nullptr), reference(sound, nullptr);
    for (const RolloutRequest& r : some_requests()) engine.submit(r);
    int events = 0;
    const auto load_in_the_middle = [&](RolloutEvent&&) {
      if (++events != 40) return;
      std::thread loader([&] {
        if (!nan) device.collects_until_failure = 1;
        else device.launches_until_nan = 0;
        load(engine, 7);
      });
      loader.join();
    };
    device.launches_until_nan = nan ? 5 : 0;  // in flight at the 40th event
    if (nan) CHECK_THROWS_WITH_AS(engine.wait(load_in_the_middle, true), doctest::Contains("is NaN or infinite"), NumericError);
    else CHECK_THROWS_AS(engine.wait(load_in_the_middle, true), int);
    CHECK(events >= 40);
    CHECK(device.steps_in_flight() == 0);
    CHECK(engine.weight_version() == 7);
    load(reference, 7);
    CHECK(run(engine, some_requests()) == run(reference, some_requests()));
  }
}

TEST_CASE("other threads load weights and cancel while a rollout streams: every token and end arrives once") {
  InstantStepDevice device({.rows = 8, .slots = 8});
  PipelinedEngine engine(device, nullptr, {.recompute_on_new_weights = false});
  std::atomic<bool> done{false};
  std::atomic<WeightVersion> published{0};
  std::thread loader([&] {
    while (!done) {
      load(engine, ++published);
      std::this_thread::yield();
    }
  });
  std::atomic<RequestId> victim{0};
  std::thread canceller([&] {
    while (!done) {
      if (victim != 0) engine.cancel(victim.exchange(0));
      std::this_thread::yield();
    }
  });
  for (int round = 0; round < 12; ++round) {
    std::map<std::pair<RequestId, int>, std::vector<TokenId>> streamed;
    for (std::uint64_t i = 0; i < 4; ++i) {
      const RequestId id = engine.submit(request_of(i, 4, 60));
      if (i == 2) victim = id;
    }
    int finished = 0;
    engine.wait(
        [&](RolloutEvent&& e) {
          std::vector<TokenId>& tokens = streamed[{e.request, e.sample}];
          tokens.insert(tokens.end(), e.tokens.begin(), e.tokens.end());
          if (e.kind != RolloutEvent::Kind::kFinished) return;
          ++finished;
          CHECK(e.completion.tokens == tokens);
          CHECK((tokens.size() == 60 || e.completion.stop == StopReason::kAborted));
          std::int32_t start = -1;
          for (const VersionRun& run : e.completion.version_runs) {
            CHECK(run.start > start);
            CHECK(run.digest[0] == static_cast<std::uint8_t>(run.version));
            start = run.start;
          }
        },
        true);
    CHECK(finished == 16);
  }
  done = true;
  loader.join();
  canceller.join();
  CHECK(engine.weight_version() == published);
}

TEST_CASE("a sample that has to wait gives its slot back when its tokens are known") {
  InstantStepDevice device({.rows = 4, .slots = 4});
  PipelinedEngine engine(device, nullptr);
  engine.submit(request_of(7, 4, 40));
  int events = 0;
  engine.wait(
      [&](RolloutEvent&& e) {
        if (e.kind != RolloutEvent::Kind::kTokens || ++events != 20) return;
        CHECK(engine.free_slots() == 0);
        load(engine, 1);  // all are to be computed again
        CHECK(engine.free_slots() == 4);
      },
      true);
  CHECK(events == 160);
  CHECK(engine.free_slots() == 4);
}

}  // namespace
}  // namespace r1
