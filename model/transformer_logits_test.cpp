// Losses of whole distributions give the gradient that log-probabilities give, where the loss is one of them.
#include <cmath>

#include <doctest/doctest.h>

#include "core/error.h"
#include "core/rng.h"
#include "model/transformer.h"

namespace r1 {
namespace {

ModelConfig tiny(const std::string& family) {
  ModelConfig c;
  c.model_type = family;
  c.hidden_size = 64, c.num_hidden_layers = 2, c.num_attention_heads = 4, c.num_key_value_heads = 2, c.head_dim = 16;
  c.intermediate_size = 96, c.vocab_size = 157, c.max_position_embeddings = 1024;  // an odd width
  c.rms_norm_eps = 1e-5f, c.tie_word_embeddings = family == "llama";
  c.qk_norm = family == "qwen3";
  return c;
}

// Two sequences; more predictors than one part holds.
PackedBatch make_batch(std::int64_t vocab) {
  StreamRng rng(4, 1);
  PackedBatch b;
  for (std::int32_t length : {300, 90}) {
    const auto begin = static_cast<std::int32_t>(b.tokens.size());
    for (std::int32_t t = 0; t < length; ++t) {
      b.tokens.push_back(static_cast<TokenId>(rng.below(static_cast<std::uint64_t>(vocab))));
      b.positions.push_back(t);
      if (t < 3 || t == length - 1) continue;
      b.predictors.push_back(begin + t);
      b.targets.push_back(static_cast<TokenId>(rng.below(static_cast<std::uint64_t>(vocab))));
    }
    b.sequences.push_back({begin, begin + length, -1, -1});
  }
  return b;
}

double relative_distance(const std::vector<float>& a, const std::vector<float>& b) {
  double d = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) d += (double{a[i]} - b[i]) * (double{a[i]} - b[i]), norm += double{b[i]} * b[i];
  return std::sqrt(d / norm);
}

}  // namespace

TEST_CASE("train_logits: cross-entropy on rows of logits has the gradient of the log-probabilities; recomputation changes no bit") {
  ComputePool pool(2);
  for (const char* family : {"llama", "qwen3"})
    for (DType dtype : {DType::kF32, DType::kBF16}) {
      CAPTURE(family);
      CAPTURE(static_cast<int>(dtype));
      Transformer model(tiny(family), dtype, pool);
      init_random(model.weights(), 3, 0.15f);
      model.weights_changed();
      const std::int64_t limit = 150, v = model.config().vocab_size;
      model.set_vocab_limit(limit);
      const PackedBatch batch = make_batch(limit);
      const std::size_t n = batch.predictors.size();
      REQUIRE(n > 256);
      std::vector<float> want(static_cast<std::size_t>(model.weights().elements())), weights(n);
      for (std::size_t i = 0; i < n; ++i) weights[i] = 0.1f + 0.01f * static_cast<float>(i % 7);
      const LogprobRows forward = model.forward(batch, 1.f, false, false);
      model.backward(weights, {}, want);
      std::vector<float> logprobs(n);
      const auto loss = [&](std::int64_t first, std::int64_t count, float* logits) {
        CHECK(first % 256 == 0);
        for (std::int64_t i = 0; i < count; ++i) {
          const auto u = static_cast<std::size_t>(first + i);
          float* z = logits + i * v;
          const cpu::RowStats s = cpu::row_stats(z, limit, 1.f, false);
          logprobs[u] = cpu::row_logprob(z, s, batch.targets[u], 1.f);
          for (std::int64_t j = 0; j < limit; ++j) z[j] = weights[u] * ((j == batch.targets[u] ? 1.f : 0.f) - std::exp(z[j] - s.logsumexp));
          for (std::int64_t j = limit; j < v; ++j) z[j] = NAN;  // never read
        }
      };
      std::vector<float> got(want.size()), again(want.size());
      model.train_logits(batch, false, loss, got);
      CHECK(logprobs == forward.logprobs);
      CHECK(relative_distance(got, want) < (dtype == DType::kF32 ? 1e-5 : 1e-2));
      model.train_logits(batch, true, loss, again);
      CHECK(again == got);
    }
}

TEST_CASE("logit_rows: the bits of logits(), in parts; gone after another pass") {
  ComputePool pool(2);
  Transformer model(tiny("qwen3"), DType::kBF16, pool);
  init_random(model.weights(), 5, 0.15f);
  model.weights_changed();
  const PackedBatch batch = make_batch(157);
  const std::vector<float> all = model.logits(batch, batch.predictors);
  model.prepare_logits(batch);
  const auto n = static_cast<std::int64_t>(batch.predictors.size());
  for (std::int64_t first = 0; first < n; first += 100) {
    const std::int64_t count = std::min<std::int64_t>(100, n - first);
    const float* part = model.logit_rows(first, count);
    CHECK(std::equal(part, part + count * 157, all.begin() + first * 157));
  }
  CHECK_THROWS_AS(model.logit_rows(n - 1, 2), std::exception);
  model.evaluate(batch, 1.f, false);
  CHECK_THROWS_AS(model.logit_rows(0, 1), std::exception);
}

}  // namespace r1
