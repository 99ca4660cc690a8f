#include "rl/value_model.h"

#include <cmath>
#include <cstring>

#include <doctest/doctest.h>

#include "core/error.h"
#include "core/rng.h"
#include "model/weight_store.h"
#include "rl/optimizer.h"
#include "rl/packing.h"
#include "rl/test_support.h"

namespace r1 {
namespace {

ModelConfig tiny(const std::string& family) {
  ModelConfig c;
  c.model_type = family;
  c.hidden_size = 64, c.num_hidden_layers = 2, c.num_attention_heads = 4, c.num_key_value_heads = 2, c.head_dim = 16;
  c.intermediate_size = 96, c.vocab_size = 60, c.max_position_embeddings = 512;
  c.rms_norm_eps = 1e-5f, c.tie_word_embeddings = family != "qwen3";
  c.qkv_bias = family == "qwen2", c.qk_norm = family == "qwen3";
  return c;
}

struct World {
  explicit World(const std::string& family, TransformerValue::Options options, DType dtype = DType::kF32) : model(tiny(family), dtype, pool) {
    init_random(model.weights(), 3, 0.15f);
    model.weights_changed();
    value = std::make_unique<TransformerValue>(model, options);
  }
  ComputePool pool{2};
  Transformer model;
  std::unique_ptr<TransformerValue> value;
};

// Two groups with a shared prompt; the last prompt row is chosen several times, as predictor of every sample's first token.
MicroBatch some_batch() {
  const auto samples = test::make_samples(2, 3, 50);
  return build_micro_batch(samples, std::vector<std::int32_t>{0, 1, 2, 3, 4, 5});
}

std::vector<float> coefficients(std::size_t n) {
  StreamRng rng(5, 7);
  std::vector<float> c(n);
  for (float& v : c) v = static_cast<float>(rng.uniform() * 2 - 1);
  return c;
}

TransformerValue::Options random_head(bool bias, bool recompute) {
  TransformerValue::Options o;
  o.head_std = 0.3, o.seed = 4, o.bias = bias, o.recompute = recompute;
  return o;
}

TEST_CASE("gradients of head and backbone equal finite differences for every family") {
  const MicroBatch mb = some_batch();
  const auto& rows = mb.batch.predictors;
  const auto c = coefficients(rows.size());
  for (const char* family : {"llama", "qwen2", "qwen3"}) {
    CAPTURE(family);
    World w(family, random_head(true, false));
    const auto loss = [&] {
      const auto s = w.value->evaluate(mb.batch, rows);
      double sum = 0;
      for (std::size_t i = 0; i < s.size(); ++i) sum += double{c[i]} * s[i];
      return sum;
    };
    const auto scores = w.value->forward(mb.batch, rows);
    CHECK(scores == w.value->evaluate(mb.batch, rows));
    w.value->forward(mb.batch, rows);
    w.value->backward(c);
    const std::vector<float> grad = w.value->gradient();
    // Each tensor along a random direction; the head's lie after the backbone's arena.
    StreamRng rng(11, 0);
    const auto elements = static_cast<std::size_t>(w.model.weights().elements());
    std::size_t head_at = elements;
    for (const TensorView& t : w.value->weights(0).tensors) {
      const bool is_head = t.name.starts_with("score.");
      const std::size_t at = is_head ? head_at : static_cast<std::size_t>(w.model.weights().find(t.name).offset);
      if (is_head) head_at += static_cast<std::size_t>(t.elements());
      auto* p = reinterpret_cast<float*>(const_cast<std::byte*>(t.data));
      const std::vector<float> kept(p, p + t.elements());
      std::vector<float> direction(kept.size());
      double expected = 0;
      for (std::size_t i = 0; i < kept.size(); ++i) {
        direction[i] = rng.uniform() < 0.5 ? -1.f : 1.f;
        expected += double{direction[i]} * grad[at + i];
      }
      const auto moved = [&](float e) {
        for (std::size_t i = 0; i < kept.size(); ++i) p[i] = kept[i] + e * direction[i];
        w.model.weights_changed();
        return loss();
      };
      const float e = 2e-2f / std::sqrt(static_cast<float>(kept.size()));
      const double first = (moved(e) - moved(-e)) / (2.0 * e), second = (moved(2 * e) - moved(-2 * e)) / (4.0 * e);
      std::copy(kept.begin(), kept.end(), p);
      w.model.weights_changed();
      CAPTURE(t.name);
      CHECK((4 * first - second) / 3 == doctest::Approx(expected).epsilon(0.02).scale(1.0));
    }
    CHECK(head_at == grad.size());
  }
}

TEST_CASE("scores and gradients have the same bits with recomputed layers; the language model's own passes still work in between") {
  const MicroBatch mb = some_batch();
  const auto& rows = mb.batch.predictors;
  for (DType dtype : {DType::kF32, DType::kBF16}) {
    World a("llama", random_head(false, false), dtype), b("llama", random_head(false, true), dtype);
    const auto before = a.model.evaluate(mb.batch, 1.f, false).logprobs;
    CHECK(a.value->forward(mb.batch, rows) == b.value->forward(mb.batch, rows));
    CHECK(a.model.evaluate(mb.batch, 1.f, false).logprobs == before);  // scratch memory is shared, what is kept is not
    a.value->backward(coefficients(rows.size()));
    b.value->backward(coefficients(rows.size()));
    CHECK(a.value->gradient() == b.value->gradient());
    CHECK_THROWS_AS(a.value->backward(coefficients(rows.size())), Error);  // one backward a forward
  }
}

TEST_CASE("scores do not depend on what else is in the batch") {
  World w("qwen3", random_head(false, true), DType::kBF16);
  const auto samples = test::make_samples(2, 3, 50);
  const MicroBatch all = some_batch(), one = build_micro_batch(samples, std::vector<std::int32_t>{4});
  const auto together = w.value->evaluate(all.batch, all.batch.predictors), alone = w.value->evaluate(one.batch, one.batch.predictors);
  std::vector<float> same;
  for (std::size_t i = 0; i < all.tokens.size(); ++i)
    if (all.tokens[i].sample == 4) same.push_back(together[i]);
  CHECK(same == alone);
}

TEST_CASE("training by regression fits its targets, and resumes bit for bit") {
  const MicroBatch mb = some_batch();
  const auto& rows = mb.batch.predictors;
  const auto targets = coefficients(rows.size());
  const auto train = [&](World& w, Optimizer& optimizer, int updates) {
    double loss = 0;
    for (int u = 0; u < updates; ++u) {
      w.value->zero_gradient();
      auto d = w.value->forward(mb.batch, rows);
      loss = 0;
      for (std::size_t i = 0; i < d.size(); ++i) d[i] -= targets[i], loss += 0.5 * d[i] * d[i];
      w.value->backward(d);
      optimizer.step(*w.value);
    }
    return loss;
  };
  OptimizerOptions o;
  o.learning_rate.peak = 3e-3;
  World w("llama", {}), copy("llama", {});
  Optimizer optimizer(o), other(o);
  const double first = train(w, optimizer, 1);
  // Rows of one hidden state have several targets: what is left is their spread.
  std::map<std::int32_t, std::vector<double>> by_row;
  for (std::size_t i = 0; i < rows.size(); ++i) by_row[rows[i]].push_back(targets[i]);
  double floor = 0;
  for (const auto& [row, t] : by_row) {
    double mean = 0;
    for (double v : t) mean += v / static_cast<double>(t.size());
    for (double v : t) floor += 0.5 * (v - mean) * (v - mean);
  }
  train(w, optimizer, 20);
  copy.value->load(w.value->weights(0));
  copy.value->restore_optimizer_state(w.value->optimizer_state());
  other.set_updates(optimizer.updates());
  CHECK(copy.value->digest() == w.value->digest());
  const double last = train(w, optimizer, 100);
  CHECK(train(copy, other, 100) == last);
  CHECK(copy.value->digest() == w.value->digest());
  CHECK(last - floor < 0.02 * (first - floor));
}

TEST_CASE("weights that are no scorer's are refused by name; a bfloat16 head is converted") {
  World w("llama", random_head(false, true)), same("llama", random_head(false, true));
  CHECK(w.value->weights(0).tensors.back().name == "score.weight");
  CHECK(w.value->weights(0).tensors.back().shape == std::vector<std::int64_t>{1, 64});
  CHECK_THROWS_WITH_AS(w.value->load(w.model.weights().snapshot(0)), doctest::Contains("score.weight"), CheckpointError);
  WeightSnapshot two = w.value->weights(0);
  const std::vector<float> labels(128);
  two.tensors.back().shape = {2, 64};
  two.tensors.back().data = reinterpret_cast<const std::byte*>(labels.data());
  CHECK_THROWS_WITH_AS(w.value->load(two), doctest::Contains("128"), CheckpointError);
  CHECK(w.value->digest() == same.value->digest());  // nothing was taken
  WeightSnapshot half = w.value->weights(0);
  const std::vector<std::uint16_t> bits(64, 0x3f80);  // 1
  half.tensors.back().dtype = DType::kBF16;
  half.tensors.back().data = reinterpret_cast<const std::byte*>(bits.data());
  w.value->load(half);
  CHECK(*reinterpret_cast<const float*>(w.value->weights(0).tensors.back().data) == 1.f);
}

}  // namespace
}  // namespace r1
