// The pipelined engine against LocalEngine: the same completions, bit for bit, whatever the device's size and delay.
#include "rollout/pipelined_engine.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/error.h"
#include "model/golden_model.h"
#include "rollout/cpu_step_device.h"
#include "rollout/engine_test_support.h"

namespace r1 {
namespace {

using namespace test;

bool same(const Completion& a, const Completion& b) {
  return a.tokens == b.tokens && a.stop == b.stop && a.text == b.text && a.logprobs.size() == b.logprobs.size() &&
         std::memcmp(a.logprobs.data(), b.logprobs.data(), a.logprobs.size() * 4) == 0 && a.entropies == b.entropies;
}
bool same(const std::vector<std::vector<Completion>>& a, const std::vector<std::vector<Completion>>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (!std::equal(a[i].begin(), a[i].end(), b[i].begin(), b[i].end(), [](const Completion& x, const Completion& y) { return same(x, y); })) return false;
  return true;
}

std::vector<RolloutRequest> scenario(std::uint64_t seed) {
  StreamRng rng(seed, 5);
  std::vector<RolloutRequest> out;
  const auto n = 1 + rng.below(6);
  for (std::uint64_t i = 0; i < n; ++i) {
    RolloutRequest r = request(seed * 10 + i, 1 + static_cast<int>(rng.below(50)), 1 + static_cast<int>(rng.below(5)), 1 + static_cast<int>(rng.below(40)));
    switch (rng.below(6)) {
      case 0: r.sampling.temperature = 0.f; break;
      case 1: r.sampling.top_k = 7, r.sampling.top_p = 0.8f; break;
      case 2: r.sampling.stop_strings = {"a", "bB"}; break;
      case 3: r.sampling.stop_tokens = {static_cast<TokenId>(rng.below(500)), 17, 300, 301, 302, 303, 304}; break;
      default: break;
    }
    if (rng.below(4) == 0) r.sampling.want_entropy = false;
    out.push_back(std::move(r));
  }
  if (n > 1 && rng.below(2) == 0) out[1].prompt.tokens.insert(out[1].prompt.tokens.begin(), out[0].prompt.tokens.begin(), out[0].prompt.tokens.end());
  return out;
}

TEST_CASE("random scenarios give LocalEngine's completions: small pools, few rows and slots, chunks, preemption") {
  TinyModel m(DType::kBF16);
  std::int64_t preemptions = 0;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    const auto requests = scenario(seed);
    const auto want = run(m.transformer, small_engine(m.transformer, 400), requests);
    StreamRng rng(seed, 6);
    LocalEngineOptions options;
    options.max_rows = 1 + static_cast<int>(rng.below(12));
    options.prefill_tokens_per_step = 1 + static_cast<int>(rng.below(40));
    options.prefix_cache = rng.below(2) == 0;
    options.prefix_sharing = rng.below(4) != 0;
    const auto blocks = static_cast<std::int32_t>(rng.below(2) == 0 ? 300 : 10 + rng.below(6));
    const auto slots = options.max_rows + static_cast<std::int32_t>(rng.below(3));
    CpuStepDevice device(m.transformer, blocks, 64, slots);
    PipelinedEngine engine(device, tiny_tokenizer(), options);
    INFO("seed ", seed, " rows ", options.max_rows, " blocks ", blocks, " slots ", slots);
    REQUIRE(same(run(engine, requests), want));
    // Again, on what the first run left.
    REQUIRE(same(run(engine, requests), want));
    preemptions += engine.stats().preemptions;
  }
  CHECK(preemptions > 20);
}

TEST_CASE("experts are those that LocalEngine reports: cached and shared prompts, preemption, samples that end while they wait") {
  const GoldenModel golden("tiny-qwen3-moe");
  ComputePool pool(2);
  Transformer model(golden.model.config(), DType::kBF16, pool);
  golden.model.load_into(model.weights());
  model.weights_changed();
  std::int64_t preemptions = 0;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    auto requests = scenario(seed);
    for (RolloutRequest& r : requests) {
      for (TokenId& t : r.prompt.tokens) t = static_cast<TokenId>(t % model.config().vocab_size);
      r.sampling.stop_strings.clear(), r.sampling.stop_tokens = {1, 2, 3, 4, 5, 6, 7, 8};
      r.sampling.want_experts = r.key.prompt % 4 != 3;
    }
    StreamRng rng(seed, 7);
    LocalEngineOptions options;
    options.max_rows = 1 + static_cast<int>(rng.below(12));
    options.prefill_tokens_per_step = 1 + static_cast<int>(rng.below(40));
    options.prefix_cache = rng.below(2) == 0, options.prefix_sharing = rng.below(4) != 0;
    CpuStepDevice device(model, rng.below(4) == 0 ? 300 : 10, 64, options.max_rows);
    PipelinedEngine engine(device, nullptr, options);
    LocalEngine local(model, nullptr, small_engine(model, 400));
    const auto want = run(local, requests);
    INFO("seed ", seed);
    for (int again = 0; again < 2; ++again) {
      const auto got = run(engine, requests);
      for (std::size_t i = 0; i < requests.size(); ++i)
        for (std::size_t s = 0; s < want[i].size(); ++s) {
          CHECK(got[i][s].tokens == want[i][s].tokens);
          CHECK(got[i][s].experts.empty() == !requests[i].sampling.want_experts);
          CHECK(got[i][s].experts == want[i][s].experts);
        }
    }
    preemptions += engine.stats().preemptions;
  }
  CHECK(preemptions > 5);
}

TEST_CASE("streamed tokens and text add up") {
  TinyModel m(DType::kF32);
  CpuStepDevice device(m.transformer, 200);
  PipelinedEngine engine(device, tiny_tokenizer());
  RolloutRequest r = request(1, 9, 3, 20);
  r.sampling.stop_strings = {"c"};
  const RequestId id = engine.submit(r);
  std::vector<std::vector<TokenId>> tokens(3);
  std::vector<std::string> text(3);
  int finished = 0;
  engine.wait(
      [&](RolloutEvent&& e) {
        CHECK(e.request == id);
        const auto s = static_cast<std::size_t>(e.sample);
        text[s] += e.text;
        tokens[s].insert(tokens[s].end(), e.tokens.begin(), e.tokens.end());
        if (e.kind != RolloutEvent::Kind::kFinished) return;
        ++finished;
        CHECK(e.completion.tokens == tokens[s]);
        CHECK(e.completion.text == text[s]);
      },
      true);
  CHECK(finished == 3);
}

TEST_CASE("cancelled requests end, the others are not touched") {
  TinyModel m(DType::kBF16);
  const auto requests = scenario(3);
  const auto want = run(m.transformer, small_engine(m.transformer, 400), requests);
  CpuStepDevice device(m.transformer, 300);
  PipelinedEngine engine(device, tiny_tokenizer());
  RolloutRequest long_one = request(900, 20, 4, 100);
  long_one.sampling.ignore_eos = true;
  const RequestId victim = engine.submit(long_one);
  std::vector<RequestId> ids;
  for (const RolloutRequest& r : requests) ids.push_back(engine.submit(r));
  std::vector<std::vector<Completion>> got(requests.size());
  for (std::size_t i = 0; i < requests.size(); ++i) got[i].resize(static_cast<std::size_t>(requests[i].samples));
  int aborted = 0, events = 0;
  engine.wait(
      [&](RolloutEvent&& e) {
        if (++events == 10) engine.cancel(victim);
        if (e.kind != RolloutEvent::Kind::kFinished) return;
        if (e.request == victim) {
          aborted += e.completion.stop == StopReason::kAborted;
          CHECK(e.completion.tokens.size() < 100);
          return;
        }
        const auto i = static_cast<std::size_t>(std::find(ids.begin(), ids.end(), e.request) - ids.begin());
        got[i][static_cast<std::size_t>(e.sample)] = std::move(e.completion);
      },
      true);
  CHECK(aborted == 4);
  CHECK(same(got, want));
}

TEST_CASE("new weights between and within rollouts; blocks whose memory was taken are computed again") {
  TinyModel a(DType::kBF16, 1), b(DType::kBF16, 2), live(DType::kBF16, 1);
  const auto requests = scenario(4);
  const auto with_a = run(a.transformer, small_engine(a.transformer, 400), requests), with_b = run(b.transformer, small_engine(b.transformer, 400), requests);
  CpuStepDevice device(live.transformer, 300);
  PipelinedEngine engine(device, tiny_tokenizer());
  CHECK(same(run(engine, requests), with_a));
  ++device.epoch;
  CHECK(same(run(engine, requests), with_a));
  WeightSnapshot next = b.transformer.weights().snapshot(7);
  engine.load_weights(next);
  const auto got = run(engine, requests);
  CHECK(same(got, with_b));
  CHECK(got[0][0].version_runs.size() == 1);
  CHECK(got[0][0].version_runs[0].version == 7);

  // In the middle: the tokens before are of the old weights and say so.
  RolloutRequest r = request(50, 12, 1, 60);
  r.sampling.ignore_eos = true;
  engine.submit(r);
  int seen = 0;
  Completion c;
  engine.wait(
      [&](RolloutEvent&& e) {
        if (e.kind == RolloutEvent::Kind::kFinished) c = std::move(e.completion);
        else if (++seen == 20) engine.load_weights(a.transformer.weights().snapshot(8));
      },
      true);
  REQUIRE(c.version_runs.size() == 2);
  CHECK(c.version_runs[1].version == 8);
  CHECK(c.version_runs[1].start >= 20);
  const std::vector<TokenId> tail(c.tokens.begin() + c.version_runs[1].start, c.tokens.end());
  std::vector<TokenId> head = r.prompt.tokens;
  head.insert(head.end(), c.tokens.begin(), c.tokens.begin() + c.version_runs[1].start);
  const LogprobRows rows = evaluate(a.transformer, head, tail, 1.f);
  CHECK(std::memcmp(rows.logprobs.data(), c.logprobs.data() + c.version_runs[1].start, tail.size() * 4) == 0);
}

TEST_CASE("a NaN names the prompt, sample and token; the engine lives on; errors of a callback end all") {
  TinyModel good(DType::kBF16), m(DType::kBF16);
  CpuStepDevice device(m.transformer, 200);
  PipelinedEngine engine(device, tiny_tokenizer());
  std::vector<float> bad(64, std::numeric_limits<float>::quiet_NaN());
  WeightSnapshot snapshot = m.transformer.weights().snapshot(1);
  for (TensorView& t : snapshot.tensors)
    if (t.name == "model.norm.weight") t = {t.name, DType::kF32, t.shape, reinterpret_cast<const std::byte*>(bad.data()), -1};
  engine.load_weights(snapshot);
  engine.submit(request(5, 4, 1, 5));
  CHECK_THROWS_WITH_AS(engine.wait([](RolloutEvent&&) {}), doctest::Contains("prompt-5, sample 0, token 0"), NumericError);
  engine.load_weights(good.transformer.weights().snapshot(2));
  const auto requests = scenario(6);
  CHECK(same(run(engine, requests), run(good.transformer, small_engine(good.transformer, 400), requests)));
  for (const RolloutRequest& r : requests) engine.submit(r);
  CHECK_THROWS_AS(engine.wait([](RolloutEvent&&) { throw IoError("no"); }), IoError);
  CHECK(same(run(engine, requests), run(good.transformer, small_engine(good.transformer, 400), requests)));
}

}  // namespace
}  // namespace r1
