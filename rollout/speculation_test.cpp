// Speculative decoding draws from the model's distribution: against all probabilities of four tokens, and against plain decoding with other draws.
// And a rule that lets too many drafts stand is noticed.
#include <doctest/doctest.h>

#include <array>
#include <cmath>

#include "model/golden_model.h"
#include "rollout/engine_test_support.h"

namespace r1::test {
namespace {

constexpr int kVocabulary = 5, kNew = 4, kSamples = 6000;
constexpr std::size_t kCells = kVocabulary * kVocabulary * kVocabulary;  // of the second, third and fourth token: the first draft is of the third

// Lets every draft stand, whatever was drawn in its place.
class TooTrusting : public LocalEngine {
 public:
  using LocalEngine::LocalEngine;

 private:
  bool draft_holds(TokenId, TokenId) const override { return true; }
};

struct Model {
  Model() : pool(1), transformer(config(), DType::kF32, pool) {
    init_random(transformer.weights(), 21, 0.3f);
    transformer.weights_changed();
  }
  static ModelConfig config() {
    ModelConfig c = GoldenModel("tiny-v3-mtp").model.config();
    c.vocab_size = kVocabulary;
    return c;
  }
  ComputePool pool;
  Transformer transformer;
};

const std::vector<TokenId> kPrompt = {1, 4, 2, 0, 3, 3, 1};

// Of [t1][t2][t3], summed over the first token.
std::array<double, kCells> probabilities(Transformer& model) {
  PackedBatch batch;
  std::vector<std::int32_t> rows;
  for (int n = 0; n < static_cast<int>(kCells); ++n) {  // every three first tokens
    std::vector<TokenId> tokens = kPrompt;
    for (const int t : {n / 25, n / 5 % 5, n % 5}) tokens.push_back(t);
    const auto begin = static_cast<std::int32_t>(batch.tokens.size());
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      if (i + 1 >= kPrompt.size()) rows.push_back(begin + static_cast<std::int32_t>(i));
      batch.tokens.push_back(tokens[i]), batch.positions.push_back(static_cast<std::int32_t>(i));
    }
    batch.sequences.push_back({begin, static_cast<std::int32_t>(batch.tokens.size()), -1, -1});
  }
  const std::vector<float> logits = model.logits(batch, rows);
  const auto p = [&](int sequence, int place, int token) {
    const float* z = logits.data() + (sequence * kNew + place) * kVocabulary;
    double sum = 0;
    for (int v = 0; v < kVocabulary; ++v) sum += std::exp(double{z[v]} - z[token]);
    return 1 / sum;
  };
  std::array<double, kCells> out{};
  for (int n = 0; n < static_cast<int>(kCells); ++n)
    for (int last = 0; last < kVocabulary; ++last)
      out[static_cast<std::size_t>(n % 25 * 5 + last)] += p(n, 0, n / 25) * p(n, 1, n / 5 % 5) * p(n, 2, n % 5) * p(n, 3, last);
  return out;
}

struct Drawn {
  std::vector<std::vector<Completion>> completions;
  std::array<double, kCells> counts{};
  EngineStats stats;
};

template <class Engine>
Drawn draw(bool speculative, std::uint64_t seed) {
  Model model;
  LocalEngineOptions options;
  options.kv_cache_bytes = 8 << 20;
  options.max_rows = 256;
  options.speculative = speculative;
  Engine engine(model.transformer, nullptr, options);
  std::vector<RolloutRequest> requests(6);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    RolloutRequest& r = requests[i];
    r.prompt.id = "p" + std::to_string(i);
    r.prompt.tokens = kPrompt;
    r.samples = kSamples / static_cast<int>(requests.size());
    r.sampling.max_new_tokens = kNew;
    r.sampling.ignore_eos = true;
    r.key = {seed, 0, i, 0};
  }
  Drawn out;
  out.completions = run(engine, requests);
  for (const auto& group : out.completions)
    for (const Completion& c : group) ++out.counts[static_cast<std::size_t>(c.tokens[1] * 25 + c.tokens[2] * 5 + c.tokens[3])];
  out.stats = engine.stats();
  return out;
}

// chi_square_z(). Cells that expect less than five are one cell. of_expected: the variance of what is expected, as a part of it.
double deviations(const std::array<double, kCells>& counts, const std::array<double, kCells>& expected, double of_expected) {
  double sum = 0, rest = 0, rest_expected = 0;
  int cells = 0;
  const auto add = [&](double n, double e) { sum += (n - e) * (n - e) / (e * (1 + of_expected)), ++cells; };
  for (std::size_t i = 0; i < kCells; ++i) {
    if (expected[i] >= 5) add(counts[i], expected[i]);
    else rest += counts[i], rest_expected += expected[i];
  }
  if (rest_expected >= 5) add(rest, rest_expected);
  REQUIRE(cells > 40);
  return chi_square_z(sum, cells - 1);
}

}  // namespace

TEST_CASE("speculative decoding: chi-square against the model's probabilities and against plain decoding; a wrong rule fails both") {
  Model model;
  std::array<double, kCells> expected = probabilities(model.transformer);
  double total = 0;
  for (const double p : expected) total += p;
  CHECK(total == doctest::Approx(1));
  for (double& p : expected) p *= kSamples;
  const Drawn plain = draw<LocalEngine>(false, 1), speculative = draw<LocalEngine>(true, 2), same = draw<LocalEngine>(true, 1), wrong = draw<TooTrusting>(true, 2);
  const double a = deviations(plain.counts, expected, 0), b = deviations(speculative.counts, expected, 0), c = deviations(wrong.counts, expected, 0);
  const auto two_samples = [&](const Drawn& d) {  // both vary: (n - m)^2 / (n + m)
    std::array<double, kCells> mean{}, half{};
    for (std::size_t i = 0; i < kCells; ++i) mean[i] = (d.counts[i] + plain.counts[i]) / 2, half[i] = d.counts[i];
    return deviations(half, mean, -0.5);
  };
  MESSAGE("standard deviations above the mean: plain ", a, ", speculative ", b, ", a wrong rule ", c, "; against plain: ", two_samples(speculative), ", wrong rule ",
          two_samples(wrong), "; ", speculative.stats.accepted_tokens, " of ", speculative.stats.drafted_tokens, " drafts held");
  CHECK(std::abs(a) < 3.5);
  CHECK(std::abs(b) < 3.5);
  CHECK(c > 8);
  CHECK(std::abs(two_samples(speculative)) < 3.5);
  CHECK(two_samples(wrong) > 8);
  CHECK(speculative.stats.drafted_tokens > kSamples / 2);
  CHECK(speculative.stats.accepted_tokens > speculative.stats.drafted_tokens / 20);
  CHECK(speculative.stats.accepted_tokens < speculative.stats.drafted_tokens);
  for (std::size_t i = 0; i < plain.completions.size(); ++i)
    for (std::size_t k = 0; k < plain.completions[i].size(); ++k) {
      REQUIRE(plain.completions[i][k].tokens == same.completions[i][k].tokens);
      REQUIRE(plain.completions[i][k].logprobs == same.completions[i][k].logprobs);
    }
}

}  // namespace r1::test
