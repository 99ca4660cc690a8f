// The CPU transformer on tiny random models: gradients against finite differences, and the promise that prefill, decode,
// evaluation and training give the same bits.
#include "model/transformer.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>

#include <doctest/doctest.h>

#include "core/error.h"
#include "core/rng.h"

namespace r1 {
namespace {

ModelConfig tiny(const std::string& family) {
  ModelConfig c;
  c.model_type = family;
  c.hidden_size = 64, c.num_hidden_layers = 2, c.num_attention_heads = 4, c.num_key_value_heads = 2, c.head_dim = 16;
  c.intermediate_size = 96, c.vocab_size = 160, c.max_position_embeddings = 512;
  c.rms_norm_eps = 1e-5f, c.tie_word_embeddings = family != "qwen3";
  c.qkv_bias = family == "qwen2", c.qk_norm = family == "qwen3";
  return c;
}

void fill(Transformer& model, std::uint64_t seed) {
  init_random(model.weights(), seed, 0.15f);
  // Norms and biases away from 1 and 0, so that their gradients are tested too.
  StreamRng rng(seed, 99);
  for (const Parameter& p : model.weights().parameters()) {
    if (p.shape.size() != 1) continue;
    for (std::int64_t i = 0; i < p.elements; ++i) {
      const float v = (p.name.find("bias") != std::string::npos ? 0.f : 1.f) + 0.3f * static_cast<float>(rng.uniform() - 0.5);
      if (model.weights().dtype() == DType::kF32) reinterpret_cast<float*>(model.weights().at(p))[i] = v;
      else reinterpret_cast<cpu::bf16*>(model.weights().at(p))[i] = cpu::to_bf16(v);
    }
  }
  model.weights_changed();
}

// A prompt of `prompt` tokens with `samples` continuations; shared = the prompt is a sequence of its own.
PackedBatch make_batch(std::int64_t vocab, int prompt, const std::vector<int>& lengths, bool shared, std::uint64_t seed) {
  StreamRng rng(seed, 1);
  std::vector<TokenId> p;
  for (int i = 0; i < prompt; ++i) p.push_back(static_cast<TokenId>(rng.below(static_cast<std::uint64_t>(vocab))));
  std::vector<std::vector<TokenId>> c;
  for (int n : lengths) {
    c.emplace_back();
    for (int i = 0; i < n; ++i) c.back().push_back(static_cast<TokenId>(rng.below(static_cast<std::uint64_t>(vocab))));
  }
  PackedBatch b;
  const auto push = [&](const std::vector<TokenId>& tokens, int position) {
    for (TokenId t : tokens) b.tokens.push_back(t), b.positions.push_back(position++);
  };
  const auto rows = [&] { return static_cast<std::int32_t>(b.tokens.size()); };
  if (shared) {
    push(p, 0);
    b.sequences.push_back({0, rows(), -1, -1});
  }
  for (const auto& y : c) {
    const std::int32_t begin = rows();
    if (!shared) push(p, 0);
    const std::int32_t first = rows();
    push(y, prompt);
    b.sequences.push_back({begin, rows(), shared ? 0 : -1, shared ? prompt : -1});
    for (std::size_t t = 0; t < y.size(); ++t) {
      b.predictors.push_back(t == 0 ? (shared ? prompt - 1 : first - 1) : first + static_cast<std::int32_t>(t) - 1);
      b.targets.push_back(y[t]);
    }
  }
  return b;
}

struct Blocks {
  explicit Blocks(const Transformer& m, int n) : size(m.kv_block_bytes()), memory(static_cast<std::byte*>(std::aligned_alloc(64, size * static_cast<std::size_t>(n)))) {
    std::memset(memory, 0xff, size * static_cast<std::size_t>(n));  // NaN everywhere: nothing unwritten may leak
    for (int i = 0; i < n; ++i) list.push_back(memory + static_cast<std::size_t>(i) * size);
  }
  ~Blocks() { std::free(memory); }
  std::size_t size;
  std::byte* memory;
  std::vector<std::byte*> list;
};

std::vector<float> coefficients(std::size_t n, std::uint64_t seed) {
  StreamRng rng(seed, 7);
  std::vector<float> c(n);
  for (float& v : c) v = static_cast<float>(rng.uniform() * 2 - 1);
  return c;
}

TEST_CASE("gradients equal finite differences for every family, prompt shared or not") {
  ComputePool pool(2);
  for (const char* family : {"llama", "qwen2", "qwen3"})
    for (bool shared : {false, true}) {
      CAPTURE(family);
      CAPTURE(shared);
      Transformer model(tiny(family), DType::kF32, pool);
      fill(model, 3);
      const PackedBatch batch = make_batch(150, 19, {9, 1, 14}, shared, 5);
      const float temperature = 0.9f;
      const auto c1 = coefficients(batch.targets.size(), 1), c2 = coefficients(batch.targets.size(), 2);
      std::vector<float> grad(static_cast<std::size_t>(model.weights().elements()));
      model.forward(batch, temperature, true, false);
      model.backward(c1, c2, grad);
      const auto loss = [&] {
        const LogprobRows r = model.evaluate(batch, temperature, true);
        double s = 0;
        for (std::size_t i = 0; i < c1.size(); ++i) s += double{c1[i]} * r.logprobs[i] + double{c2[i]} * r.entropies[i];
        return s;
      };
      StreamRng rng(11, 0);
      for (const Parameter& p : model.weights().parameters()) {
        // Along a random direction per tensor: one number tests all its elements.
        auto* w = reinterpret_cast<float*>(model.weights().at(p));
        std::vector<float> kept(w, w + p.elements), direction(kept.size());
        double expected = 0;
        for (std::size_t i = 0; i < kept.size(); ++i) {
          direction[i] = rng.uniform() < 0.5 ? -1.f : 1.f;
          expected += double{direction[i]} * grad[static_cast<std::size_t>(p.offset) + i];
        }
        const auto at = [&](float e) {
          for (std::size_t i = 0; i < kept.size(); ++i) w[i] = kept[i] + e * direction[i];
          model.weights_changed();
          return loss();
        };
        const float e = 2e-2f / std::sqrt(static_cast<float>(kept.size()));
        const double first = (at(e) - at(-e)) / (2.0 * e), second = (at(2 * e) - at(-2 * e)) / (4.0 * e);
        const double measured = (4 * first - second) / 3;
        std::copy(kept.begin(), kept.end(), w);
        model.weights_changed();
        CAPTURE(p.name);
        CHECK(measured == doctest::Approx(expected).epsilon(0.02).scale(1.0));
      }
    }
}

TEST_CASE("prefill, chunked prefill, decode, evaluation and training give the same bits") {
  for (DType dtype : {DType::kF32, DType::kBF16})
    for (const char* family : {"llama", "qwen2", "qwen3"}) {
      CAPTURE(family);
      ComputePool pool(2), one(1);
      Transformer model(tiny(family), dtype, pool);
      fill(model, 4);
      const std::vector<int> lengths = {40, 3, 17, 33};
      const PackedBatch shared = make_batch(150, 37, lengths, true, 8), apart = make_batch(150, 37, lengths, false, 8);
      const LogprobRows a = model.evaluate(shared, 1.f, true), b = model.evaluate(apart, 1.f, true);
      const LogprobRows c = model.forward(shared, 1.f, true, true);
      CHECK(a.logprobs == b.logprobs);
      CHECK(a.entropies == b.entropies);
      CHECK(a.logprobs == c.logprobs);

      Transformer single(tiny(family), dtype, one);  // another number of threads
      single.weights().load(model.weights().snapshot(1));
      single.weights_changed();
      CHECK(single.evaluate(shared, 1.f, true).logprobs == a.logprobs);

      // Decode: the prompt in chunks of 5, then a token at a time, all sequences side by side.
      std::vector<std::unique_ptr<Blocks>> blocks;
      std::vector<std::vector<TokenId>> sequences;
      for (const auto& s : apart.sequences) {
        sequences.emplace_back(apart.tokens.begin() + s.begin, apart.tokens.begin() + s.end);
        blocks.push_back(std::make_unique<Blocks>(model, 6));
      }
      std::vector<float> decoded(a.logprobs.size());
      std::vector<std::size_t> first;
      for (std::size_t i = 0, at = 0; i < lengths.size(); at += static_cast<std::size_t>(lengths[i++])) first.push_back(at);
      std::vector<std::size_t> done(sequences.size(), 0);
      for (bool more = true; more;) {
        more = false;
        std::vector<Transformer::Row> rows;
        std::vector<std::pair<std::size_t, std::size_t>> what;
        for (std::size_t s = 0; s < sequences.size(); ++s) {
          const std::size_t n = done[s] < 37 ? std::min<std::size_t>(5, 37 - done[s]) : 1;
          for (std::size_t j = 0; j < n && done[s] + 1 < sequences[s].size(); ++j, ++done[s]) {
            rows.push_back({sequences[s][done[s]], {blocks[s]->list.data(), static_cast<std::int32_t>(done[s])}, done[s] >= 36});
            what.emplace_back(s, done[s]);
          }
          more = more || done[s] + 1 < sequences[s].size();
        }
        model.step(rows, [&](std::size_t row, const float* z) {
          const auto [s, position] = what[row];
          const cpu::RowStats stats = cpu::row_stats(z, model.vocab_limit(), 1.f, false);
          decoded[first[s] + position - 36] = cpu::row_logprob(z, stats, sequences[s][position + 1], 1.f);
        });
      }
      CHECK(decoded == a.logprobs);
    }
}

TEST_CASE("the backward pass is the same with recomputed layers, and near with the prompt repeated") {
  ComputePool pool(2);
  for (DType dtype : {DType::kF32, DType::kBF16}) {
    Transformer model(tiny("qwen3"), dtype, pool);
    fill(model, 6);
    const auto run = [&](bool shared, bool recompute) {
      const PackedBatch batch = make_batch(150, 21, {12, 30}, shared, 2);
      std::vector<float> grad(static_cast<std::size_t>(model.weights().elements()));
      model.forward(batch, 1.f, false, recompute);
      model.backward(coefficients(batch.targets.size(), 3), {}, grad);
      return grad;
    };
    const auto kept = run(true, false);
    CHECK(kept == run(true, true));
    CHECK(kept == run(true, false));  // the same plan, the same bits
    const auto apart = run(false, false);
    double difference = 0, norm = 0;
    for (std::size_t i = 0; i < kept.size(); ++i) difference += std::pow(kept[i] - apart[i], 2), norm += std::pow(kept[i], 2);
    CHECK(std::sqrt(difference / norm) < (dtype == DType::kF32 ? 1e-5 : 1e-2));
  }
}

TEST_CASE("bfloat16 follows float32") {
  ComputePool pool(2);
  Transformer exact(tiny("llama"), DType::kF32, pool), rounded(tiny("llama"), DType::kBF16, pool);
  fill(rounded, 9);
  exact.weights().load(rounded.weights().snapshot(0));
  exact.weights_changed();
  const PackedBatch batch = make_batch(150, 20, {30}, true, 4);
  const auto a = exact.evaluate(batch, 1.f, false).logprobs, b = rounded.evaluate(batch, 1.f, false).logprobs;
  for (std::size_t i = 0; i < a.size(); ++i) CHECK(std::abs(a[i] - b[i]) < 0.15f);
}

TEST_CASE("a vocabulary limit takes the surplus ids out of the softmax and of the gradient") {
  ComputePool pool(1);
  Transformer model(tiny("qwen3"), DType::kF32, pool);  // untied: the head has its own rows
  fill(model, 5);
  const PackedBatch batch = make_batch(150, 10, {8}, true, 4);
  model.set_vocab_limit(150);
  std::vector<float> grad(static_cast<std::size_t>(model.weights().elements()));
  model.forward(batch, 1.f, false, false);
  model.backward(coefficients(8, 1), {}, grad);
  const Parameter& head = model.weights().find("lm_head.weight");
  for (std::int64_t i = 150 * 64; i < 160 * 64; ++i) REQUIRE(grad[static_cast<std::size_t>(head.offset + i)] == 0.f);
  const std::int32_t row = 9;
  const auto z = model.logits(batch, {&row, 1});
  double sum = 0;
  for (int i = 0; i < 150; ++i) sum += std::exp(double{z[static_cast<std::size_t>(i)]});
  const auto lp = model.evaluate(batch, 1.f, false).logprobs;
  CHECK(lp[0] == doctest::Approx(z[static_cast<std::size_t>(batch.targets[0])] - std::log(sum)).epsilon(1e-5));
}

}  // namespace
}  // namespace r1
