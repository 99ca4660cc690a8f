#include <doctest/doctest.h>

#include "core/error.h"
#include "rollout/engine.h"
#include "rollout/scripted_engine.h"

namespace r1 {
namespace {

Completion number(const RolloutRequest& r, int sample) {
  Completion c;
  c.tokens = {static_cast<TokenId>(r.key.prompt), static_cast<TokenId>(sample)};
  c.text = message(r.prompt.id, "/", sample);
  c.stop = StopReason::kEos;
  return c;
}

std::vector<RolloutRequest> requests(int n) {
  std::vector<RolloutRequest> out(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i) {
    auto& r = out[static_cast<std::size_t>(i)];
    r.prompt.id = message("p", i);
    r.samples = 1 + i;
    r.key.prompt = static_cast<std::uint64_t>(i);
  }
  return out;
}

TEST_CASE("generate() returns groups in order and reports each as it completes") {
  ScriptedEngine engine(number);
  engine.load_weights({7, {}, nullptr});
  std::vector<std::size_t> reported;
  const auto groups = generate(engine, requests(4), [&](std::size_t i, const SampleGroup& g) {
    reported.push_back(i);
    CHECK(g.completions.size() == i + 1);
  });
  REQUIRE(groups.size() == 4);
  CHECK(reported.size() == 4);
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(groups[i].prompt.id == message("p", i));
    for (std::size_t s = 0; s <= i; ++s) {
      const Completion& c = groups[i].completions[s];
      CHECK(c.tokens == std::vector<TokenId>{static_cast<TokenId>(i), static_cast<TokenId>(s)});
      CHECK(c.logprobs.size() == 2);
      REQUIRE(c.version_runs.size() == 1);
      CHECK(c.version_runs[0].version == 7);
    }
  }
  CHECK(engine.stats().generated_tokens == 20);
}

TEST_CASE("generate() leaves nothing behind when a request is refused") {
  ScriptedEngine engine(number);
  auto bad = requests(3);
  bad[2].samples = 0;
  CHECK_THROWS_AS(generate(engine, bad), ConfigError);
  int events = 0;
  engine.wait([&](RolloutEvent&&) { ++events; });
  CHECK(events == 0);
}

TEST_CASE("the scripted engine cancels, streams and accepts work from a callback") {
  ScriptedEngine engine(number);
  auto r = requests(2);
  const RequestId a = engine.submit(r[0]), b = engine.submit(r[1]);
  engine.cancel(b);
  int tokens = 0, aborted = 0, finished = 0;
  engine.wait([&](RolloutEvent&& e) {
    if (e.kind == RolloutEvent::Kind::kTokens) {
      CHECK(e.tokens.size() == 2);
      ++tokens;
      return;
    }
    ++finished;
    aborted += e.completion.stop == StopReason::kAborted;
    if (e.request == a) engine.submit(r[0]);
  }, true);
  CHECK(finished == 1 + 2 + 1);
  CHECK(aborted == 2);
  CHECK(tokens == 2);
}

}  // namespace
}  // namespace r1
