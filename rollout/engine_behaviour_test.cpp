// Stopping, sampling distributions, limits, errors, streaming, threads.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <thread>
#include <vector>

#include "core/error.h"
#include "rollout/completion_builder.h"
#include "rollout/engine_test_support.h"

namespace r1 {
namespace {

using namespace test;

// The distribution after temperature, top-k, top-p, min-p in this order, in float64 and by the definitions.
std::vector<double> reference_distribution(std::vector<double> z, const SamplingOptions& s) {
  const std::size_t v = z.size();
  for (double& x : z) x /= s.temperature;
  const double max = *std::max_element(z.begin(), z.end());
  std::vector<double> p(v);
  const auto normalise = [&] {
    const double sum = std::accumulate(p.begin(), p.end(), 0.0);
    for (double& x : p) x /= sum;
  };
  for (std::size_t i = 0; i < v; ++i) p[i] = std::exp(z[i] - max);
  normalise();
  std::vector<std::size_t> order(v);
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return p[a] > p[b]; });
  if (s.top_k > 0)
    for (std::size_t i = static_cast<std::size_t>(s.top_k); i < v; ++i) p[order[i]] = 0;
  normalise();
  if (s.top_p < 1.f) {
    double mass = 0;
    for (const std::size_t i : order) {
      if (mass >= s.top_p) p[i] = 0;
      mass += p[i];
    }
    normalise();
  }
  if (s.min_p > 0.f) {
    const double least = s.min_p * p[order[0]];
    for (double& x : p)
      if (x < least) x = 0;
    normalise();
  }
  return p;
}

TEST_CASE("tokens of other weights begin a run of their own, told apart by version and by digest") {
  CompletionBuilder builder(std::make_shared<const StopRules>(SamplingOptions{}, std::span<const TokenId>{}), nullptr, false);
  const WeightDigest first{1}, second{2};
  for (const auto& [version, digest] : {std::pair{3u, first}, {3u, first}, {3u, second}, {4u, second}}) builder.add(5, -1.f, 0.f, version, digest, false);
  const Completion c = builder.finish({5, 5, 5, 5}, StopReason::kLength);
  REQUIRE(c.version_runs.size() == 3);
  CHECK(c.version_runs[1].start == 2);
  CHECK(c.version_runs[1].version == 3);
  CHECK(c.version_runs[1].digest == second);
  CHECK(c.version_runs[2].start == 3);
  CHECK(c.version_runs[2].version == 4);
}

TEST_CASE("filtered sampling reports the log-probability of the filtered distribution") {
  TinyModel m(DType::kF32);
  struct Kind { float temperature; int top_k; float top_p, min_p; };
  const std::vector<Kind> kinds = {{1.f, 5, 1.f, 0.f}, {1.3f, 0, 0.6f, 0.f}, {0.8f, 0, 1.f, 0.1f}, {1.1f, 30, 0.9f, 0.05f}};
  for (std::size_t kind = 0; kind < kinds.size(); ++kind) {
    RolloutRequest r = request(kind, 7, 4, 12, kinds[kind].temperature);
    r.sampling.top_k = kinds[kind].top_k;
    r.sampling.top_p = kinds[kind].top_p;
    r.sampling.min_p = kinds[kind].min_p;
    for (const Completion& c : run_one(m.transformer, small_engine(m.transformer), r)) {
      std::vector<TokenId> context = r.prompt.tokens;
      for (std::size_t t = 0; t < c.tokens.size(); ++t) {
        const auto p = reference_distribution(next_logits(m.transformer, context), r.sampling);
        const double expected = p[static_cast<std::size_t>(c.tokens[t])];
        REQUIRE(expected > 0);
        CHECK(c.logprobs[t] == doctest::Approx(std::log(expected)).epsilon(1e-4));
        context.push_back(c.tokens[t]);
      }
    }
  }
}

TEST_CASE("generated tokens follow the model's distribution (chi-square)") {
  TinyModel m(DType::kF32);
  const auto check = [](const std::map<std::vector<TokenId>, double>& probability, const std::map<std::vector<TokenId>, int>& counts, int n) {
    double statistic = 0, rest_p = 0, rest_n = 0;
    int bins = 0;
    for (const auto& [tokens, p] : probability) {
      const auto it = counts.find(tokens);
      const double seen = it == counts.end() ? 0 : it->second;
      if (p * n < 8) {
        rest_p += p;
        rest_n += seen;
        continue;
      }
      statistic += (seen - p * n) * (seen - p * n) / (p * n);
      ++bins;
    }
    if (rest_p * n >= 8) {
      statistic += (rest_n - rest_p * n) * (rest_n - rest_p * n) / (rest_p * n);
      ++bins;
    } else {
      CHECK(rest_n <= rest_p * n + 6 * std::sqrt(rest_p * n) + 6);
    }
    REQUIRE(bins > 10);
    CAPTURE(bins);
    CAPTURE(statistic);
    CHECK(chi_square_z(statistic, bins - 1) < 4);   // one in 30,000
    CHECK(chi_square_z(statistic, bins - 1) > -4);  // nor suspiciously even
  };
  SUBCASE("first token, 40,000 samples of one prompt") {
    const int n = 40000;
    const RolloutRequest r = request(3, 9, n, 1);
    const auto p = reference_distribution(next_logits(m.transformer, r.prompt.tokens), r.sampling);
    std::map<std::vector<TokenId>, double> probability;
    for (std::size_t i = 0; i < p.size(); ++i) probability[{static_cast<TokenId>(i)}] = p[i];
    std::map<std::vector<TokenId>, int> counts;
    for (const Completion& c : run_one(m.transformer, small_engine(m.transformer), r)) ++counts[c.tokens];
    check(probability, counts, n);
  }
  SUBCASE("pairs of tokens under top-k, one sample of each of 4,000 draw keys") {
    const int n = 4000;
    RolloutRequest r = request(3, 9, 1, 2);
    r.sampling.top_k = 5;
    r.sampling.ignore_eos = true;
    std::map<std::vector<TokenId>, double> probability;
    const auto first = reference_distribution(next_logits(m.transformer, r.prompt.tokens), r.sampling);
    for (std::size_t a = 0; a < first.size(); ++a) {
      if (first[a] == 0) continue;
      auto context = r.prompt.tokens;
      context.push_back(static_cast<TokenId>(a));
      const auto second = reference_distribution(next_logits(m.transformer, context), r.sampling);
      for (std::size_t b = 0; b < second.size(); ++b)
        if (second[b] > 0) probability[{static_cast<TokenId>(a), static_cast<TokenId>(b)}] = first[a] * second[b];
    }
    std::vector<RolloutRequest> requests;
    for (int i = 0; i < n; ++i) {
      r.key = {7, static_cast<std::uint64_t>(i / 400), static_cast<std::uint64_t>(i % 400), 0};
      requests.push_back(r);
    }
    std::map<std::vector<TokenId>, int> counts;
    for (const auto& group : run(m.transformer, small_engine(m.transformer, 2000), requests)) {
      REQUIRE(probability.contains(group[0].tokens));
      ++counts[group[0].tokens];
    }
    check(probability, counts, n);
  }
}

TEST_CASE("end tokens, stop tokens, stop strings and the budget") {
  TinyModel m(DType::kF32);
  RolloutRequest r = request(4, 10, 1, 80);
  r.sampling.ignore_eos = true;
  const Completion whole = run(m.transformer, small_engine(m.transformer), {r})[0][0];
  REQUIRE(whole.tokens.size() == 80);
  CHECK(whole.stop == StopReason::kLength);
  CHECK(whole.text == tiny_tokenizer()->decode(whole.tokens));
  CHECK(whole.entropies.size() == 80);
  const auto ends_at = [&](const Completion& c, std::size_t n) {
    REQUIRE(c.tokens.size() == n);
    CHECK(std::equal(c.tokens.begin(), c.tokens.end(), whole.tokens.begin()));
    CHECK(std::equal(c.logprobs.begin(), c.logprobs.end(), whole.logprobs.begin()));
    CHECK(c.logprobs.size() == n);
  };
  const auto first_of = [&](TokenId t) {
    return static_cast<std::size_t>(std::find(whole.tokens.begin(), whole.tokens.end(), t) - whole.tokens.begin()) + 1;
  };
  SUBCASE("stop token") {
    const TokenId t = whole.tokens[30];
    r.sampling.stop_tokens = {t};
    const Completion c = run(m.transformer, small_engine(m.transformer), {r})[0][0];
    CHECK(c.stop == StopReason::kStop);
    ends_at(c, first_of(t));
  }
  SUBCASE("the model's end token") {
    ModelConfig config = tiny_config();
    config.eos_token_ids = {whole.tokens[30], whole.tokens[40]};
    Transformer t(config, DType::kF32, m.pool);
    t.weights().load(m.transformer.weights().snapshot(0));
    r.sampling.ignore_eos = false;
    const Completion c = run(t, small_engine(m.transformer), {r})[0][0];
    CHECK(c.stop == StopReason::kEos);
    ends_at(c, std::min(first_of(whole.tokens[30]), first_of(whole.tokens[40])));
    r.sampling.ignore_eos = true;
    CHECK(run(t, small_engine(m.transformer), {r})[0][0].tokens == whole.tokens);
  }
  SUBCASE("a stop string across tokens") {
    // The text of tokens 20..22 without its first and last byte, where these are whole characters.
    const auto tokenizer = tiny_tokenizer();
    const auto prefix = [&](std::size_t n) { return tokenizer->decode({whole.tokens.begin(), whole.tokens.begin() + static_cast<long>(n)}); };
    const std::string stop = prefix(23).substr(prefix(20).size());
    REQUIRE(!stop.empty());
    const std::size_t at = prefix(80).find(stop);
    std::size_t n = 1;
    while (prefix(n).size() < at + stop.size()) ++n;
    r.sampling.stop_strings = {"never to be seen", stop};
    const Completion c = run(m.transformer, small_engine(m.transformer), {r})[0][0];
    CHECK(c.stop == StopReason::kStop);
    CHECK(c.text == prefix(80).substr(0, at));
    ends_at(c, n);
  }
  SUBCASE("a smaller budget") {
    r.sampling.max_new_tokens = 13;
    const Completion c = run(m.transformer, small_engine(m.transformer), {r})[0][0];
    CHECK(c.stop == StopReason::kLength);
    ends_at(c, 13);
  }
  SUBCASE("no entropies unless wanted") {
    r.sampling.want_entropy = false;
    CHECK(run(m.transformer, small_engine(m.transformer), {r})[0][0].entropies.empty());
  }
}

TEST_CASE("streamed tokens and text add up to the completions") {
  TinyModel m(DType::kF32);
  std::vector<RolloutRequest> requests = {request(1, 8, 3, 60), request(2, 20, 3, 60)};
  requests[1].sampling.stop_strings = {"cA", "aB", "a"};
  LocalEngine engine(m.transformer, tiny_tokenizer(), small_engine(m.transformer, 12));
  for (const auto& r : requests) engine.submit(r);
  std::map<std::pair<RequestId, int>, RolloutEvent> streamed;
  int finished = 0;
  engine.wait([&](RolloutEvent&& e) {
    RolloutEvent& s = streamed[{e.request, e.sample}];
    if (e.kind == RolloutEvent::Kind::kTokens) {
      s.tokens.insert(s.tokens.end(), e.tokens.begin(), e.tokens.end());
      s.text += e.text;
    } else {
      CHECK(s.tokens == e.completion.tokens);
      CHECK(s.text == e.completion.text);
      ++finished;
    }
  }, true);
  CHECK(finished == 6);
}

TEST_CASE("requests that cannot fit or make no sense are refused, with the numbers and the remedy") {
  TinyModel m(DType::kF32);
  LocalEngine engine(m.transformer, tiny_tokenizer(), small_engine(m.transformer, 8));
  const auto refused = [&](const char* a, const char* b, auto change) {
    RolloutRequest r = request(1, 20, 1, 10);
    change(r);
    try {
      engine.submit(r);
      FAIL("accepted: ", a);
    } catch (const ConfigError& e) {
      INFO(e.what());
      CHECK(std::string(e.what()).find(a) != std::string::npos);
      CHECK(std::string(e.what()).find(b) != std::string::npos);
      CHECK(std::string(e.what()).find("prompt-1") != std::string::npos);
    }
  };
  refused("257", "rollout.max_new_tokens", [](auto& r) { r.sampling.max_new_tokens = 237; });
  refused("the cache has 8", "rollout.kv_cache_gb", [](auto& r) { r.sampling.max_new_tokens = 150; });
  refused("no tokens", "prompt", [](auto& r) { r.prompt.tokens.clear(); });
  refused("600", "512", [](auto& r) { r.prompt.tokens[3] = 600; });
  refused("temperature", "-1", [](auto& r) { r.sampling.temperature = -1; });
  refused("temperature", "nan", [](auto& r) { r.sampling.temperature = std::numeric_limits<float>::quiet_NaN(); });
  refused("top_p", "0", [](auto& r) { r.sampling.top_p = 0; });
  refused("top_k", "-2", [](auto& r) { r.sampling.top_k = -2; });
  refused("min_p", "1.5", [](auto& r) { r.sampling.min_p = 1.5f; });
  refused("max_new_tokens", "0", [](auto& r) { r.sampling.max_new_tokens = 0; });
  refused("samples_per_prompt", "0", [](auto& r) { r.samples = 0; });
  refused("stop string", "empty", [](auto& r) { r.sampling.stop_strings = {""}; });
  refused("stop token", "9999", [](auto& r) { r.sampling.stop_tokens = {9999}; });
  int events = 0;
  engine.wait([&](RolloutEvent&&) { ++events; });
  CHECK(events == 0);

  RolloutRequest largest = request(1, 20, 3, 93);  // 7 blocks and the group's partial one
  CHECK(run(engine, {largest})[0].size() == 3);
  LocalEngineOptions none = small_engine(m.transformer);
  none.kv_cache_bytes = 100;
  CHECK_THROWS_AS(LocalEngine(m.transformer, nullptr, none), ConfigError);
}

TEST_CASE("ids beyond the tokenizer are never sampled") {
  ModelConfig config = tiny_config();
  config.vocab_size = 544;
  ComputePool pool(2);
  Transformer model(config, DType::kF32, pool);
  init_random(model.weights(), 3, 0.05f);
  RolloutRequest r = request(1, 5, 40, 40);
  r.sampling.ignore_eos = true;
  for (const Completion& c : run_one(model, small_engine(model, 400), r))
    for (const TokenId t : c.tokens) REQUIRE(t < 512);
}

TEST_CASE("a NaN names the prompt, sample and token, and the engine lives on") {
  TinyModel m(DType::kF32);
  LocalEngine engine(m.transformer, tiny_tokenizer(), small_engine(m.transformer));
  const std::vector<RolloutRequest> requests = {request(12, 20, 2, 10)};
  const auto before = run(engine, requests);
  const Parameter& norm = m.transformer.weights().find("model.norm.weight");
  reinterpret_cast<float*>(m.transformer.weights().at(norm))[5] = std::numeric_limits<float>::quiet_NaN();
  engine.load_weights(m.transformer.weights().snapshot(1));
  try {
    run(engine, requests);
    FAIL("no error");
  } catch (const NumericError& e) {
    INFO(e.what());
    CHECK(std::string(e.what()).find("prompt prompt-12, sample ") != std::string::npos);
    CHECK(std::string(e.what()).find("token 0") != std::string::npos);
  }
  int events = 0;
  engine.wait([&](RolloutEvent&&) { ++events; });
  CHECK(events == 0);  // every request has ended
  init_random(m.transformer.weights(), 1, 0.25f);
  engine.load_weights(m.transformer.weights().snapshot(2));
  CHECK(run(engine, requests)[0][0].tokens == before[0][0].tokens);
}

TEST_CASE("an error in a callback ends all requests; a callback may submit") {
  TinyModel m(DType::kF32);
  LocalEngine engine(m.transformer, tiny_tokenizer(), small_engine(m.transformer));
  engine.submit(request(1, 5, 2, 10));
  engine.submit(request(2, 5, 2, 30));
  CHECK_THROWS_AS(engine.wait([](RolloutEvent&&) { throw IoError("disk full"); }), IoError);
  int finished = 0;
  engine.wait([&](RolloutEvent&&) { ++finished; });
  CHECK(finished == 0);
  engine.submit(request(1, 5, 1, 10));
  engine.wait([&](RolloutEvent&&) {
    if (++finished == 1) engine.submit(request(2, 5, 3, 10));
  });
  CHECK(finished == 4);
}

TEST_CASE("weights and cancellations from other threads") {
  TinyModel m(DType::kF32), other(DType::kF32, 2);
  LocalEngine engine(m.transformer, tiny_tokenizer(), small_engine(m.transformer, 40));
  std::atomic<bool> done{false};
  std::atomic<WeightVersion> published{0};
  std::thread loader([&] {
    const auto snapshot = other.transformer.weights().snapshot(0);
    while (!done) {
      WeightSnapshot next = snapshot;
      next.version = ++published;
      engine.load_weights(next);
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  });
  std::atomic<RequestId> victim{0};
  std::thread canceller([&] {
    while (!done) {
      if (victim != 0) engine.cancel(victim.exchange(0));
      std::this_thread::yield();
    }
  });
  for (int round = 0; round < 20; ++round) {
    for (std::uint64_t i = 0; i < 4; ++i) {
      const RequestId id = engine.submit(request(i, 10, 3, 60));
      if (i == 2) victim = id;
    }
    int finished = 0;
    engine.wait([&](RolloutEvent&& e) {
      ++finished;
      const Completion& c = e.completion;
      REQUIRE(c.logprobs.size() == c.tokens.size());
      std::set<WeightVersion> seen;
      for (std::size_t i = 0; i < c.version_runs.size(); ++i) {
        CHECK(seen.insert(c.version_runs[i].version).second);
        CHECK((i == 0 ? c.version_runs[i].start == 0 : c.version_runs[i].start > c.version_runs[i - 1].start));
      }
    });
    CHECK(finished == 12);
  }
  done = true;
  loader.join();
  canceller.join();
  CHECK(engine.weight_version() == published);
}

TEST_CASE("a group's prompt is computed once and its statistics add up") {
  TinyModel m(DType::kF32);
  LocalEngine engine(m.transformer, tiny_tokenizer(), small_engine(m.transformer, 400));
  RolloutRequest r = request(1, 50, 8, 10);
  r.sampling.ignore_eos = true;
  run(engine, {r});
  const EngineStats s = engine.stats();
  CHECK(s.prompt_tokens == 50);
  CHECK(s.cached_prompt_tokens == 0);
  CHECK(s.generated_tokens == 80);
  CHECK(s.decode_rows == 8 * 9);
  CHECK(s.decode_steps == 10);
  CHECK(s.preemptions == 0);
  CHECK(s.kv_blocks == 400);
  CHECK(s.kv_blocks_peak == 3 + 8);  // 59 positions: three shared blocks, one of their own
  CHECK(s.busy_s > 0);
}

}  // namespace
}  // namespace r1
