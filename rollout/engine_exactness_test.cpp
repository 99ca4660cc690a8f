// The same request gives the same bits, whatever surrounds it, and the learner's.
#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "core/error.h"
#include "rollout/engine_test_support.h"

namespace r1 {
namespace {

using namespace test;
using Groups = std::vector<std::vector<Completion>>;

void check_same(const Completion& a, const Completion& b) {
  REQUIRE(a.tokens == b.tokens);
  CHECK(a.logprobs == b.logprobs);  // every bit
  CHECK(a.entropies == b.entropies);
  CHECK(a.text == b.text);
  CHECK(a.stop == b.stop);
}
void check_same(const Groups& a, const Groups& b) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    REQUIRE(a[i].size() == b[i].size());
    for (std::size_t s = 0; s < a[i].size(); ++s) check_same(a[i][s], b[i][s]);
  }
}

// Prompts below, at and above block ends; sampling of every kind.
std::vector<RolloutRequest> mixed_requests() {
  std::vector<RolloutRequest> out = {request(1, 5, 4, 40), request(2, 16, 3, 25), request(3, 33, 4, 40, 0.7f), request(4, 48, 2, 30, 0.f),
                                     request(5, 1, 5, 20), request(6, 40, 3, 30), request(7, 17, 2, 1)};
  out[5].sampling.top_k = 20;
  out[5].sampling.top_p = 0.8f;
  out[5].sampling.min_p = 0.02f;
  // Two prompts that begin alike, for the prefix cache.
  std::copy(out[2].prompt.tokens.begin(), out[2].prompt.tokens.begin() + 32, out[3].prompt.tokens.begin());
  for (auto& r : out) r.sampling.ignore_eos = r.key.prompt % 2 == 0;
  return out;
}

TEST_CASE("alone, in a batch, shared or not, cached or not, preempted, in chunks: the same bits") {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    CAPTURE(safetensors_name(dtype));
    TinyModel m(dtype);
    const auto requests = mixed_requests();
    LocalEngineOptions plain = small_engine(m.transformer, 400);
    const Groups together = run(m.transformer, plain, requests);

    SUBCASE("each request alone") {
      for (std::size_t i = 0; i < requests.size(); ++i) check_same(run(m.transformer, plain, {requests[i]}), Groups{together[i]});
    }
    SUBCASE("each sample alone, by its number in the key") {
      for (std::size_t i = 0; i < requests.size(); ++i)
        for (int s = 0; s < requests[i].samples; ++s) {
          RolloutRequest one = requests[i];
          one.samples = 1;
          one.key.sample = static_cast<std::uint32_t>(s);
          check_same(run(m.transformer, plain, {one})[0][0], together[i][static_cast<std::size_t>(s)]);
        }
    }
    SUBCASE("without prefix sharing and cache") {
      plain.prefix_sharing = plain.prefix_cache = false;
      check_same(run(m.transformer, plain, requests), together);
    }
    SUBCASE("without sharing, with the cache") {
      plain.prefix_sharing = false;
      LocalEngine engine(m.transformer, tiny_tokenizer(), plain);
      check_same(run(engine, requests), together);
      CHECK(engine.stats().cached_prompt_tokens > 0);
    }
    SUBCASE("again on a warm cache") {
      LocalEngine engine(m.transformer, tiny_tokenizer(), plain);
      run(engine, requests);
      const auto before = engine.stats().cached_prompt_tokens;
      check_same(run(engine, requests), together);
      CHECK(engine.stats().cached_prompt_tokens - before >= 16 + 32 + 32 + 32);
    }
    SUBCASE("a pool so small that samples are preempted") {
      for (const int blocks : {6, 8, 11, 17}) {
        for (const int chunk : {3, 64}) {
          LocalEngineOptions tiny = small_engine(m.transformer, blocks);
          tiny.prefill_tokens_per_step = chunk;
          LocalEngine engine(m.transformer, tiny_tokenizer(), tiny);
          check_same(run(engine, requests), together);
          if (blocks < 17) CHECK(engine.stats().preemptions > 0);
          CHECK(engine.stats().kv_blocks_peak <= blocks);
        }
      }
    }
    SUBCASE("chunks of any size") {
      for (const int chunk : {1, 2, 5, 15, 16, 17, 31, 1000}) {
        plain.prefill_tokens_per_step = chunk;
        check_same(run(m.transformer, plain, requests), together);
      }
    }
    SUBCASE("few rows") {
      for (const int rows : {1, 2, 7}) {
        plain.max_rows = rows;
        check_same(run(m.transformer, plain, requests), together);
      }
    }
    SUBCASE("one thread") {
      TinyModel single(dtype, 1, 1);
      check_same(run(single.transformer, plain, requests), together);
    }
    SUBCASE("after others were cancelled") {
      LocalEngine engine(m.transformer, tiny_tokenizer(), plain);
      const RequestId first = engine.submit(requests[0]), other = engine.submit(requests[2]);
      const RequestId third = engine.submit(requests[5]);
      Groups got(2);
      got[0].resize(4);
      got[1].resize(3);
      std::vector<Completion> cut;
      int seen = 0;
      engine.wait([&](RolloutEvent&& e) {
        if (e.kind == RolloutEvent::Kind::kTokens) {
          if (e.request == other && ++seen == 20) engine.cancel(other);
          return;
        }
        if (e.request == other) cut.push_back(e.completion);
        else got[e.request == third ? 1 : 0][static_cast<std::size_t>(e.sample)] = e.completion;
      }, true);
      (void)first;
      check_same(got, {together[0], together[5]});
      REQUIRE(cut.size() == 4);
      for (std::size_t s = 0; s < 4; ++s) {  // in order: nothing ended before
        CHECK(cut[s].stop == StopReason::kAborted);
        const auto& whole = together[2][s].tokens;
        REQUIRE(cut[s].tokens.size() < whole.size());
        CHECK(std::equal(cut[s].tokens.begin(), cut[s].tokens.end(), whole.begin()));
      }
    }
  }
}

TEST_CASE("log-probabilities and entropies have the bits of the learner's evaluation") {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const float temperature : {1.f, 0.7f}) {
      TinyModel m(dtype);
      std::vector<RolloutRequest> requests;
      for (std::uint64_t i = 0; i < 6; ++i) requests.push_back(request(i, 3 + static_cast<int>(i) * 9, 4, 50, temperature));
      LocalEngineOptions options = small_engine(m.transformer, 14);  // preemption included
      options.prefill_tokens_per_step = 10;
      LocalEngine engine(m.transformer, tiny_tokenizer(), options);
      const Groups groups = run(engine, requests);
      CHECK(engine.stats().preemptions > 0);
      for (std::size_t i = 0; i < groups.size(); ++i)
        for (const Completion& c : groups[i]) {
          const LogprobRows expected = evaluate(m.transformer, requests[i].prompt.tokens, c.tokens, temperature);
          CHECK(c.logprobs == expected.logprobs);
          CHECK(c.entropies == expected.entropies);
        }
    }
  }
}

TEST_CASE("greedy tokens are the argmax, with their log-probability at temperature 1") {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    TinyModel m(dtype);
    RolloutRequest r = request(9, 12, 2, 30, 0.f);
    const auto completions = run(m.transformer, small_engine(m.transformer), {r})[0];
    CHECK(completions[0].tokens == completions[1].tokens);
    std::vector<TokenId> context = r.prompt.tokens;
    for (const TokenId token : completions[0].tokens) {
      const auto z = next_logits(m.transformer, context);
      CHECK(token == std::max_element(z.begin(), z.end()) - z.begin());
      context.push_back(token);
    }
    CHECK(completions[0].logprobs == evaluate(m.transformer, r.prompt.tokens, completions[0].tokens, 1.f).logprobs);
  }
}

TEST_CASE("new weights change results, drop every cached block and are named in the completions") {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    TinyModel m(dtype), other(dtype, 2);
    const std::vector<RolloutRequest> requests = {request(1, 40, 3, 20), request(2, 33, 2, 20)};
    const Groups expected = run(other.transformer, small_engine(other.transformer), requests);
    LocalEngine engine(m.transformer, tiny_tokenizer(), small_engine(m.transformer));
    const Groups before = run(engine, requests);
    CHECK(before[0][0].version_runs.at(0).version == 0);
    CHECK(before[0][0].version_runs.at(0).digest == m.transformer.weights().digest());
    const auto cached = engine.stats().cached_prompt_tokens;

    engine.load_weights(other.transformer.weights().snapshot(5));
    CHECK(engine.weight_version() == 5);
    const Groups after = run(engine, requests);
    check_same(after, expected);
    CHECK(after[0][0].tokens != before[0][0].tokens);
    CHECK(engine.stats().cached_prompt_tokens == cached);
    for (const auto& group : after)
      for (const Completion& c : group) {
        REQUIRE(c.version_runs.size() == 1);
        CHECK(c.version_runs[0].start == 0);
        CHECK(c.version_runs[0].version == 5);
        CHECK(c.version_runs[0].digest == other.transformer.weights().digest());
      }

    // The learner's way: the shared arena changes in place and is published under a new number.
    init_random(m.transformer.weights(), 1, 0.25f);
    engine.load_weights(m.transformer.weights().snapshot(6));
    check_same(run(engine, requests), before);
  }
}

TEST_CASE("new weights in the middle of a rollout: tokens after them have the new weights' bits") {
  TinyModel m(DType::kF32), old(DType::kF32), other(DType::kF32, 2);
  const RolloutRequest r = request(1, 20, 3, 60);
  for (const bool recompute : {true, false}) {
    LocalEngineOptions options = small_engine(m.transformer);
    options.recompute_on_new_weights = recompute;
    LocalEngine engine(m.transformer, tiny_tokenizer(), options);
    engine.load_weights(old.transformer.weights().snapshot(1));
    RolloutRequest endless = r;
    endless.sampling.ignore_eos = true;
    engine.submit(endless);
    int events = 0;
    std::vector<Completion> done(3);
    engine.wait([&](RolloutEvent&& e) {
      if (e.kind == RolloutEvent::Kind::kTokens && ++events == 60) engine.load_weights(other.transformer.weights().snapshot(2));
      if (e.kind == RolloutEvent::Kind::kFinished) done[static_cast<std::size_t>(e.sample)] = e.completion;
    }, true);
    for (const Completion& c : done) {
      REQUIRE(c.version_runs.size() == 2);
      const auto split = static_cast<std::size_t>(c.version_runs[1].start);
      CHECK(split == 20);
      CHECK(c.version_runs[0].version == 1);
      CHECK(c.version_runs[1].version == 2);
      CHECK(c.version_runs[1].digest == other.transformer.weights().digest());
      const auto first = evaluate(old.transformer, r.prompt.tokens, c.tokens, 1.f).logprobs;
      const auto second = evaluate(other.transformer, r.prompt.tokens, c.tokens, 1.f).logprobs;
      CHECK(std::equal(first.begin(), first.begin() + 20, c.logprobs.begin()));
      CHECK(std::equal(second.begin() + 20, second.end(), c.logprobs.begin() + 20) == recompute);
    }
  }
}

}  // namespace
}  // namespace r1
