// Many callers of one engine: who gets what, cancellation, limits, an engine that fails.
#include <doctest/doctest.h>

#include <atomic>
#include <thread>

#include "core/error.h"
#include "proto/engine_loop.h"
#include "rollout/scripted_engine.h"

namespace r1 {
namespace {

using namespace std::chrono_literals;

// The completion repeats the prompt's token and the sample's number.
Completion echo(const RolloutRequest& r, int sample) {
  Completion c;
  c.tokens = {r.prompt.tokens.at(0), sample};
  c.stop = StopReason::kEos;
  return c;
}

RolloutRequest request(TokenId token, int samples = 1) {
  RolloutRequest r;
  r.prompt.tokens = {token};
  r.samples = samples;
  return r;
}

TEST_CASE("each of many calls gets its own completions, tokens streamed before the end") {
  ScriptedEngine engine(echo);
  EngineLoop loop(engine, 64);
  std::atomic<int> right{0};
  std::vector<std::thread> clients;
  for (int c = 0; c < 16; ++c)
    clients.emplace_back([&, c] {
      const auto call = loop.submit({request(100 + c, 2), request(200 + c, 2)}, true);
      std::vector<std::vector<TokenId>> streamed(4);
      while (call->unfinished() > 0) {
        const auto e = call->next(1000ms);
        if (!e || !e->failure.empty()) return;
        std::vector<TokenId>& seen = streamed[e->request * 2 + static_cast<std::size_t>(e->event.sample)];
        if (e->event.kind == RolloutEvent::Kind::kTokens) {
          seen.insert(seen.end(), e->event.tokens.begin(), e->event.tokens.end());
          if (e->event.logprobs.size() != e->event.tokens.size()) return;
        } else {
          const std::vector<TokenId> expected = {(e->request == 0 ? 100 : 200) + c, e->event.sample};
          right += e->event.completion.tokens == expected && seen == expected ? 1 : 0;
        }
      }
    });
  for (std::thread& t : clients) t.join();
  CHECK(right == 64);
  CHECK(loop.counts().finished == 16);
  CHECK(loop.counts().cancelled == 0);
  CHECK(loop.counts().active == 0);
}

TEST_CASE("a refused request fails its own call alone, by the engine's words") {
  ScriptedEngine engine(echo);
  EngineLoop loop(engine, 4);
  const auto bad = loop.submit({request(1), request(2, 0)}, false);
  const auto good = loop.submit({request(3)}, false);
  const auto failure = bad->next(2000ms);
  REQUIRE(failure);
  CHECK(failure->refused);
  CHECK(failure->failure.find("samples is 0") != std::string::npos);
  CHECK(bad->unfinished() == 0);
  CHECK_FALSE(bad->next(20ms));
  const auto fine = good->next(2000ms);
  REQUIRE(fine);
  CHECK(fine->event.completion.tokens == std::vector<TokenId>{3, 0});
  CHECK(loop.counts().refused == 1);
}

TEST_CASE("an engine that fails ends the calls that run, and the next call is served") {
  std::atomic<bool> broken{true};
  ScriptedEngine engine([&](const RolloutRequest& r, int sample) {
    if (broken) throw NumericError("logits of prompt 7 are NaN");
    return echo(r, sample);
  });
  EngineLoop loop(engine, 4);
  const auto call = loop.submit({request(7)}, false);
  const auto e = call->next(2000ms);
  REQUIRE(e);
  CHECK_FALSE(e->refused);
  CHECK(e->failure == "the model failed: logits of prompt 7 are NaN");
  broken = false;
  const auto next = loop.submit({request(8)}, false)->next(2000ms);
  REQUIRE(next);
  CHECK(next->failure.empty());
  CHECK(loop.counts().failed == 1);
}

TEST_CASE("the engine's statistics are those of its last events, and nobody else's thread waits for its lock") {
  struct Engine : ScriptedEngine {
    Engine() : ScriptedEngine(echo) {}
    EngineStats stats() const override {
      foreign = foreign || std::this_thread::get_id() == test;
      return ScriptedEngine::stats();
    }
    const std::thread::id test = std::this_thread::get_id();
    mutable std::atomic<bool> foreign{false};
  } engine;
  EngineLoop loop(engine, 1);
  CHECK(loop.engine_stats().generated_tokens == 0);
  const auto call = loop.submit({request(7, 3)}, false);
  while (call->unfinished() > 0) REQUIRE(call->next(2000ms));
  CHECK(loop.engine_stats().generated_tokens == 6);
  CHECK_FALSE(engine.foreign);
}

TEST_CASE("calls over the limit and after close() are turned away; a place is free once a call is destroyed") {
  ScriptedEngine engine(echo);
  EngineLoop loop(engine, 1);
  auto first = loop.submit({request(1)}, false);
  REQUIRE(first);
  CHECK(loop.submit({request(2)}, false) == nullptr);
  first.reset();
  CHECK(loop.submit({request(3)}, false) != nullptr);
  loop.close();
  CHECK(loop.submit({request(4)}, false) == nullptr);
  CHECK(loop.counts().full == 2);
}

TEST_CASE("what was not fetched is merged into one event a sample") {
  struct Slow : ScriptedEngine {
    Slow() : ScriptedEngine(echo) {}
    void wait(const std::function<void(RolloutEvent&&)>& on_event, bool) override {
      for (int t = 0; t < 100; ++t) on_event({RolloutEvent::Kind::kTokens, 1, 0, {t}, "x", {}, {-1.f}});
      RolloutEvent end;
      end.request = 1;
      on_event(std::move(end));
    }
  } engine;
  EngineLoop loop(engine, 1);
  const auto call = loop.submit({request(1)}, true);
  while (loop.counts().finished == 0) std::this_thread::sleep_for(1ms);
  const auto tokens = call->next(1000ms);
  REQUIRE(tokens);
  CHECK(tokens->event.tokens.size() == 100);
  CHECK(tokens->event.logprobs.size() == 100);
  CHECK(tokens->event.text == std::string(100, 'x'));
  CHECK(call->next(1000ms)->event.kind == RolloutEvent::Kind::kFinished);
  CHECK(call->unfinished() == 0);
}

}  // namespace
}  // namespace r1
