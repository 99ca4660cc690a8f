// Row statistics, gradients, sampling: against double precision, by frequencies, and bit against bit.
#include <algorithm>
#include <limits>

#include "kernels/table.h"
#include "kernels/test_support.h"

namespace r1::cpu::test {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

struct Reference {
  std::vector<double> p;
  double logsumexp = 0, entropy = 0;
};
Reference reference(const std::vector<float>& logits, double temperature) {
  Reference r;
  double max = -INFINITY, sum = 0;
  for (float x : logits) max = std::max(max, x / temperature);
  for (float x : logits) sum += std::exp(x / temperature - max);
  r.logsumexp = max + std::log(sum);
  for (float x : logits) {
    r.p.push_back(std::exp(x / temperature - r.logsumexp));
    if (r.p.back() > 0) r.entropy -= r.p.back() * (x / temperature - r.logsumexp);
  }
  return r;
}

// The tokens that filters keep, by the definitions, slowly.
std::vector<std::int32_t> kept(const std::vector<float>& logits, const SamplingArgs& a) {
  const Reference r = reference(logits, a.temperature);
  std::vector<std::int32_t> ids;
  for (std::size_t i = 0; i < logits.size(); ++i)
    if (r.p[i] > 0) ids.push_back(static_cast<std::int32_t>(i));
  const auto logit = [&](std::int32_t i) { return logits[static_cast<std::size_t>(i)]; };
  const auto p = [&](std::int32_t i) { return r.p[static_cast<std::size_t>(i)]; };
  std::stable_sort(ids.begin(), ids.end(), [&](std::int32_t x, std::int32_t y) { return logit(x) > logit(y); });
  if (a.top_k > 0 && ids.size() > static_cast<std::size_t>(a.top_k)) ids.resize(static_cast<std::size_t>(a.top_k));
  if (a.top_p < 1.f) {
    double total = 0, sum = 0;
    for (auto i : ids) total += p(i);
    std::size_t n = 0;
    while (n < ids.size() && (n == 0 || sum < a.top_p * total)) sum += p(ids[n++]);
    ids.resize(n);
  }
  const double best = p(ids.front());
  std::erase_if(ids, [&](std::int32_t i) { return p(i) < a.min_p * best; });
  std::sort(ids.begin(), ids.end());
  return ids;
}

}  // namespace

TEST_CASE("the vector exp is within 2e-7 of exp") {
  for_each_isa([&](Isa) {
    std::vector<float> x;
    for (double v = -87.3; v < 0.5; v += 0.00037) x.push_back(static_cast<float>(v));
    for (double v = 0.5; v < 88.7; v += 0.0037) x.push_back(static_cast<float>(v));
    std::vector<float> y(x.size());
    table().exp_values(x.data(), static_cast<std::int64_t>(x.size()), 1.f, 0.f, y.data());
    double worst = 0;
    for (std::size_t i = 0; i < x.size(); ++i)
      worst = std::fmax(worst, std::fabs(y[i] / std::exp(static_cast<double>(x[i])) - 1));
    CHECK(worst < 2e-7);
    const float special[] = {-kInf, -88.f, -1e30f, 0.f, 89.f, kInf, NAN};
    float out[7];
    table().exp_values(special, 7, 1.f, 0.f, out);
    CHECK(out[0] == 0.f);
    CHECK(out[1] == 0.f);
    CHECK(out[2] == 0.f);
    CHECK(out[3] == 1.f);
    CHECK(out[4] == kInf);
    CHECK(out[5] == kInf);
    CHECK(std::isnan(out[6]));
  });
}

TEST_CASE("row statistics agree with double precision") {
  for_each_isa([&](Isa) {
    for (const std::int64_t v : {1, 15, 1000, 1025, 49152, 151936}) {
      for (const float temperature : {0.7f, 1.f, 2.5f}) {
        CAPTURE(v);
        auto logits = random_floats(v, 1, 4.0);
        if (v > 100) logits[3] = logits[77] = -kInf;
        const Reference r = reference(logits, temperature);
        const RowStats s = row_stats(logits.data(), v, temperature, true);
        CHECK(s.logsumexp == doctest::Approx(r.logsumexp).epsilon(5e-7));
        CHECK(std::fabs(s.entropy - r.entropy) < 3e-6 * (1 + r.entropy));
        CHECK(row_stats(logits.data(), v, temperature, false).logsumexp == s.logsumexp);
        const std::int64_t target = v / 2;
        CHECK(std::fabs(row_logprob(logits.data(), s, target, temperature) - std::log(r.p[static_cast<std::size_t>(target)])) < 4e-6);
      }
    }
  });
}

TEST_CASE("the gradient of log-probability and entropy is the derivative") {
  for_each_isa_and_type([&](Type type) {
    const std::int64_t v = 45, target = 17;
    auto logits = random_floats(v, 2, 2.0);
    logits[9] = -kInf;
    const float temperature = 0.8f, c1 = -1.3f, c2 = 0.4f;
    const RowStats s = row_stats(logits.data(), v, temperature, true);
    Array d(type, v);
    row_logprob_backward(logits.data(), v, s, target, temperature, c1, c2, d.at(0), type);
    for (std::int64_t j = 0; j < v; ++j) {
      if (j == 9) {
        CHECK(d.get(j) == 0.0);
        continue;
      }
      double want = 0;
      for (const double sign : {1.0, -1.0}) {
        auto moved = logits;
        const double h = 1.0 / 64;  // exact in float32
        moved[static_cast<std::size_t>(j)] += static_cast<float>(sign * h);
        const Reference r = reference(moved, temperature);
        want += sign * (c1 * std::log(r.p[target]) + c2 * r.entropy) / (2 * h);
      }
      CHECK(std::fabs(d.get(j) - want) < (type == Type::kBF16 ? 4e-3 : 1e-3) * (std::fabs(want) + 0.1));
    }
    for (const std::int64_t first : {0, 16, 32}) {  // the same in parts, of which one holds the target
      const std::int64_t count = std::min<std::int64_t>(16, v - first);
      Array part(type, count);
      row_logprob_backward(logits.data() + first, count, s, target - first, temperature, c1, c2, part.at(0), type);
      CHECK(same_bits(part.at(0), d.at(first), static_cast<std::size_t>(count) * (type == Type::kBF16 ? 2 : 4)));
    }
  });
}

TEST_CASE("a draw without filters has the bits of row_logprob and the right frequencies") {
  for_each_isa([&](Isa) {
    const std::int64_t v = 2100;
    auto logits = random_floats(v, 3, 1.0);
    for (std::int64_t i = 0; i < 40; ++i) logits[static_cast<std::size_t>(i * 52)] += 7.f;  // a few tokens carry most mass
    SamplingArgs args;
    args.temperature = 0.9f;
    const Reference r = reference(logits, args.temperature);
    const RowStats s = row_stats(logits.data(), v, args.temperature, true);
    constexpr int kDraws = 20000;
    std::vector<double> counts(static_cast<std::size_t>(v));
    for (int i = 0; i < kDraws; ++i) {
      args.uniform = draw_uniform({1, 2, 3, 4}, static_cast<std::uint32_t>(i));
      const Sampled x = sample_row(logits.data(), v, args);
      counts[static_cast<std::size_t>(x.token)] += 1;
      REQUIRE(x.logprob == row_logprob(logits.data(), s, x.token, args.temperature));
      REQUIRE(x.entropy == s.entropy);
    }
    // Chi-square over tokens expected often enough, the rest pooled.
    double chi = 0, rest_p = 0, rest_n = 0;
    int degrees = 0;
    for (std::size_t i = 0; i < counts.size(); ++i) {
      const double expected = r.p[i] * kDraws;
      if (expected < 20) {
        rest_p += expected;
        rest_n += counts[i];
        continue;
      }
      chi += (counts[i] - expected) * (counts[i] - expected) / expected;
      ++degrees;
    }
    chi += (rest_n - rest_p) * (rest_n - rest_p) / rest_p;
    CHECK(degrees > 20);
    CHECK(chi < degrees + 5 * std::sqrt(2.0 * degrees));  // five standard deviations
  });
}

TEST_CASE("a draw is the inverse of the cumulative distribution in id order") {
  for_each_isa([&](Isa) {
    auto logits = random_floats(3000, 4, 2.0);
    const Reference r = reference(logits, 1.0);
    double before = 0;
    for (std::int32_t i = 0; i < 3000; ++i) {
      const double p = r.p[static_cast<std::size_t>(i)];
      if (p > 1e-4) {
        SamplingArgs args;
        args.uniform = before + 0.5 * p;
        REQUIRE(sample_row(logits.data(), 3000, args).token == i);
      }
      before += p;
    }
    SamplingArgs args;
    args.uniform = std::nextafter(1.0, 0.0);
    logits[2999] = -kInf;  // the last token may not be drawn, whatever rounding does
    CHECK(sample_row(logits.data(), 3000, args).token == 2998);
    args.uniform = 1e-300;
    logits[0] = -kInf;
    CHECK(sample_row(logits.data(), 3000, args).token == 1);
  });
}

TEST_CASE("filters keep exactly the tokens of their definitions, ties by id") {
  for_each_isa([&](Isa) {
    const std::int64_t v = 700;
    auto logits = random_floats(v, 5, 2.0);
    for (std::size_t i = 0; i < logits.size(); ++i) logits[i] = std::round(logits[i] * 4) / 4;  // many ties
    logits[10] = -kInf;
    struct Case {
      std::int32_t k;
      float p, m;
    };
    for (const Case c : {Case{1, 1.f, 0.f}, {5, 1.f, 0.f}, {300, 1.f, 0.f}, {699, 1.f, 0.f}, {700, 0.9f, 0.f}, {0, 0.5f, 0.f}, {0, 0.999f, 0.f},
                         {0, 1e-6f, 0.f}, {0, 1.f, 0.1f}, {0, 1.f, 1.f}, {40, 0.8f, 0.05f}, {0, 0.95f, 0.02f}}) {
      CAPTURE(c.k);
      CAPTURE(c.p);
      CAPTURE(c.m);
      SamplingArgs args{0.7f, c.k, c.p, c.m, 0.5};
      const auto want = kept(logits, args);
      const Reference r = reference(logits, 0.7f);
      double total = 0, before = 0;
      for (auto i : want) total += r.p[static_cast<std::size_t>(i)];
      for (auto i : want) {
        const double p = r.p[static_cast<std::size_t>(i)] / total;
        args.uniform = before + 0.5 * p;
        before += p;
        if (p < 1e-5) continue;  // the float32 sums of the kernel and the double ones here differ by about 1e-7
        const Sampled x = sample_row(logits.data(), v, args);
        REQUIRE(x.token == i);
        REQUIRE(x.logprob == doctest::Approx(std::log(p)).epsilon(1e-5));
        REQUIRE(x.entropy == doctest::Approx(r.entropy).epsilon(1e-5));
      }
    }
  });
}

TEST_CASE("greedy takes the smallest id of the largest logit, with its log-probability at temperature 1") {
  for_each_isa([&](Isa) {
    auto logits = random_floats(1111, 6, 1.0);
    logits[900] = logits[333] = logits[1110] = 9.f;
    SamplingArgs args;
    args.temperature = 0.f;
    args.top_k = 3;
    const Sampled x = sample_row(logits.data(), 1111, args);
    CHECK(x.token == 333);
    CHECK(x.logprob == row_logprob(logits.data(), row_stats(logits.data(), 1111, 1.f, false), 333, 1.f));
    CHECK(sample_row(logits.data(), 334, args).token == 333);
  });
}

TEST_CASE("rows that are not numbers are refused") {
  for_each_isa([&](Isa) {
    for (const float temperature : {0.f, 1.f}) {
      SamplingArgs args;
      args.temperature = temperature;
      for (const std::int64_t at : {0, 5, 63, 2049, 2099}) {
        auto logits = random_floats(2100, 7);
        logits[static_cast<std::size_t>(at)] = NAN;
        CHECK_THROWS_AS(sample_row(logits.data(), 2100, args), NumericError);
        logits[static_cast<std::size_t>(at)] = kInf;
        CHECK_THROWS_AS(sample_row(logits.data(), 2100, args), NumericError);
      }
      const std::vector<float> banned(100, -kInf), nans(100, NAN);
      CHECK_THROWS_AS(sample_row(banned.data(), 100, args), NumericError);
      CHECK_THROWS_AS(sample_row(nans.data(), 100, args), NumericError);
    }
    CHECK(std::isnan(row_stats(std::vector<float>(50, NAN).data(), 50, 1.f, true).logsumexp));
  });
}

}  // namespace r1::cpu::test
