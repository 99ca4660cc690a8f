// The distribution over the vocabulary against the CPU's, and the bits that sampler and learner share.
#include <algorithm>

#include "core/error.h"
#include "kernels/cpu.h"
#include "kernels/gpu/test_support.h"

namespace r1::gpu::test {
namespace {

i64 padded(i64 v) { return (v + 7) / 8 * 8; }

// Rows of logits [n][padded(v)], what lies behind v being NaN.
std::vector<float> logits_of(i64 n, i64 v, float spread, std::uint64_t seed) {
  const i64 ld = padded(v);
  std::vector<float> z(size(n * ld), NAN);
  Random random(seed);
  for (i64 i = 0; i < n; ++i)
    for (i64 j = 0; j < v; ++j) z[size(i * ld + j)] = random.value() * spread;
  return z;
}
std::vector<Drawn> sample(const Array<float>& z, i64 v, const std::vector<Draw>& draws, bool filtered, std::vector<std::int32_t>* slots = nullptr) {
  const Array<Draw> d(draws);
  const Array<Drawn> out(static_cast<i64>(draws.size()));
  const Array<std::int32_t> last(std::vector<std::int32_t>(8, -5));
  sample_rows(stream(), z, padded(v), v, d, static_cast<i64>(draws.size()), filtered, out, last);
  if (slots != nullptr) *slots = last.get();
  return out.get();
}
Draw draw_of(std::int32_t row, double u, float t = 1.f) {
  Draw d;
  d.row = row, d.slot = -1, d.uniform = u, d.temperature = t;
  return d;
}

}  // namespace

TEST_CASE("log-probabilities and entropies are the CPU's to rounding; a row's bits depend on the row alone") {
  R1_NEEDS_GPU();
  for (const i64 v : {7, 1000, 49152, 151936})
    for (const float t : {0.5f, 1.f, 1.3f}) {
      const i64 n = 6, ld = padded(v);
      auto host = logits_of(n, v, 4.f, 1);
      for (i64 j = 0; j < v; ++j) host[size(ld + j)] = j == 3 ? 30.f : 0.25f * host[size(ld + j)];  // peaked
      for (i64 j = 0; j < v; j += 2) host[size(2 * ld + j)] = -INFINITY;
      const Array<float> z(host), logprobs(n), entropies(n), lse(n), alone(1), other(n), tops(n), best(n);
      std::vector<std::int32_t> targets(size(n));
      for (i64 i = 0; i < n; ++i) targets[size(i)] = static_cast<std::int32_t>((i * 37 + 1) % v | 1) % static_cast<std::int32_t>(v);
      const Array<std::int32_t> dt(targets);
      const LogprobArgs args{z, ld, v, t};
      logprob_rows(stream(), args, dt, n, logprobs, entropies, lse, tops);
      logprob_rows(stream(), args, dt, n, other, nullptr, nullptr);
      std::vector<std::int32_t> likeliest(size(n));
      for (i64 i = 0; i < n; ++i) likeliest[size(i)] = static_cast<std::int32_t>(std::max_element(host.data() + i * ld, host.data() + i * ld + v) - (host.data() + i * ld));
      logprob_rows(stream(), args, Array<std::int32_t>(likeliest), n, best, nullptr, nullptr);
      CHECK(same_bits(tops.get(), best.get()));
      const auto lp = logprobs.get(), h = entropies.get(), l = lse.get();
      CHECK(same_bits(lp, other.get()));
      Worst worst;
      for (i64 i = 0; i < n; ++i) {
        const float* row = host.data() + i * ld;
        const cpu::RowStats stats = cpu::row_stats(row, v, t, true);
        worst.take(lp[size(i)], cpu::row_logprob(row, stats, targets[size(i)], t), 3e-5, 2e-6);
        worst.take(h[size(i)], stats.entropy, 5e-5, 1e-5);
        worst.take(l[size(i)], stats.logsumexp, 3e-5, 2e-6);
        const LogprobArgs one{z + i * ld, ld, v, t};
        logprob_rows(stream(), one, dt + i, 1, alone, nullptr, nullptr);
        CHECK(same_bits(alone.get(), 0, lp, i, 1));
      }
      INFO(v, " ", t, " ", worst.ratio);
      CHECK(worst.ratio < 1);
    }
}

TEST_CASE("gradients of log-probability and entropy") {
  R1_NEEDS_GPU();
  for (const i64 v : {1003, 49152}) {
    const i64 n = 5, ld = padded(v);
    const float t = 0.7f;
    const auto host = logits_of(n, v, 3.f, 2);
    const Array<float> z(host), logprobs(n), entropies(n), lse(n);
    const std::vector<std::int32_t> targets = {0, 5, static_cast<std::int32_t>(v) - 1, 77, 500};
    const std::vector<float> c1 = {1.f, -2.f, 0.5f, 0.f, 3.f}, c2 = {0.f, 1.f, -0.25f, 2.f, 0.f};
    const Array<std::int32_t> dt(targets);
    const Array<float> d1(c1), d2(c2);
    const Array<bf16> d(n * ld), unit(n * ld);
    const LogprobArgs args{z, ld, v, t};
    logprob_rows(stream(), args, dt, n, logprobs, entropies, lse);
    logprob_rows_backward(stream(), args, dt, n, lse, entropies, d1, d2, d, ld);
    logprob_rows_backward(stream(), args, dt, n, lse, nullptr, nullptr, nullptr, unit, ld);
    const auto got = d.get(), got_unit = unit.get();
    Worst worst;
    std::vector<float> want(size(v));
    for (i64 i = 0; i < n; ++i) {
      const float* row = host.data() + i * ld;
      const cpu::RowStats stats = cpu::row_stats(row, v, t, true);
      for (const bool is_unit : {false, true}) {
        cpu::row_logprob_backward(row, v, stats, targets[size(i)], t, is_unit ? 1.f : c1[size(i)], is_unit ? 0.f : c2[size(i)], want.data(), cpu::Type::kF32);
        const auto& g = is_unit ? got_unit : got;
        for (i64 j = 0; j < ld; ++j) worst.take(value(g[size(i * ld + j)]), j < v ? want[size(j)] : 0.0, 1e-7, 1.2 * kBf16Step);
      }
    }
    INFO(v, " ", worst.ratio);
    CHECK(worst.ratio < 1);
  }
}

TEST_CASE("draws are the CPU's, their log-probabilities the learner's to the bit") {
  R1_NEEDS_GPU();
  for (const i64 v : {7, 1000, 151936}) {
    const i64 rows = 3, ld = padded(v);
    const auto host = logits_of(rows, v, 2.f, 3);
    const Array<float> z(host);
    std::vector<Draw> draws;
    Random random(4);
    for (int i = 0; i < 400; ++i) draws.push_back(draw_of(i % 3, random.unit(), 0.9f));
    draws[7].slot = 2, draws[8].slot = 0;
    for (const double u : {1e-17, 1.0 - 1e-16, 0.5}) draws.push_back(draw_of(1, u, 0.9f));
    for (int i = 0; i < 3; ++i) draws.push_back(draw_of(i, 0.3, 0.f));
    std::vector<std::int32_t> slots;
    const auto got = sample(z, v, draws, false, &slots), same = sample(z, v, draws, true);
    CHECK(slots[2] == got[7].token);
    CHECK(slots[0] == got[8].token);
    CHECK(slots[1] == -5);
    int different = 0, paths = 0;
    std::vector<std::int32_t> targets;
    for (std::size_t i = 0; i < draws.size(); ++i) {
      const Draw& d = draws[i];
      cpu::SamplingArgs args;
      args.temperature = d.temperature, args.uniform = d.uniform;
      const cpu::Sampled want = cpu::sample_row(host.data() + d.row * ld, v, args);
      REQUIRE(got[i].token >= 0);
      REQUIRE(got[i].token < v);
      different += want.token != got[i].token;  // only where the uniform falls between two roundings
      paths += std::memcmp(&same[i], &got[i], sizeof(Drawn)) != 0;
      if (want.token == got[i].token) {
        CHECK(std::abs(want.logprob - got[i].logprob) < 3e-5);
        CHECK(std::abs(want.entropy - got[i].entropy) < 1e-4);
      }
      if (d.temperature == 0.f) CHECK(want.token == got[i].token);
    }
    INFO(v, " differing ", different, " paths ", paths);
    CHECK(different <= 2);
    CHECK(paths == 0);  // to the bit
    const Array<float> logprobs(1);
    bool equal = true;
    for (std::size_t i = 0; i < 60; ++i) {
      logprob_rows(stream(), {z + draws[i].row * ld, ld, v, 0.9f}, Array<std::int32_t>(std::vector<std::int32_t>{got[i].token}), 1, logprobs, nullptr, nullptr);
      const auto lp = logprobs.get();
      equal = equal && std::memcmp(&lp[0], &got[i].logprob, 4) == 0;
    }
    CHECK(equal);
  }
}

TEST_CASE("draws follow the distribution: chi-square") {
  R1_NEEDS_GPU();
  const i64 v = 50;
  const auto host = logits_of(1, v, 1.5f, 5);
  const Array<float> z(host);
  const cpu::RowStats stats = cpu::row_stats(host.data(), v, 1.f, false);
  std::vector<double> seen(size(v), 0.0);
  const int n = 1000000;
  Random random(6);
  for (int part = 0; part < 10; ++part) {
    std::vector<Draw> draws;
    for (int i = 0; i < n / 10; ++i) draws.push_back(draw_of(0, random.unit()));
    for (const Drawn& d : sample(z, v, draws, false)) seen[size(d.token)] += 1;
  }
  double chi = 0;
  for (i64 j = 0; j < v; ++j) {
    const double want = n * std::exp(static_cast<double>(cpu::row_logprob(host.data(), stats, j, 1.f)));
    chi += (seen[size(j)] - want) * (seen[size(j)] - want) / want;
  }
  INFO(chi);
  CHECK(chi < 85.4);  // 49 degrees of freedom, 0.1 %
}

TEST_CASE("draws from a large vocabulary follow the distribution: chi-square over groups of tokens") {
  R1_NEEDS_GPU();
  const i64 v = 50000;
  constexpr int kGroups = 64, kDraws = 200000;
  const auto host = logits_of(1, v, 2.f, 10);
  const Array<float> z(host);
  const cpu::RowStats stats = cpu::row_stats(host.data(), v, 1.f, false);
  // Groups of scattered tokens, and groups of neighbours: the one finds errors within a chunk, the other between segments.
  const auto scattered = [](i64 id) { return size(static_cast<i64>(mix64(static_cast<std::uint64_t>(id)) % kGroups)); };
  const auto nearby = [](i64 id) { return size(id * kGroups / v); };
  std::vector<double> want_s(kGroups, 0.0), want_n(kGroups, 0.0), seen_s(kGroups, 0.0), seen_n(kGroups, 0.0);
  for (i64 j = 0; j < v; ++j) {
    const double p = kDraws * std::exp(static_cast<double>(cpu::row_logprob(host.data(), stats, j, 1.f)));
    want_s[scattered(j)] += p, want_n[nearby(j)] += p;
  }
  Random random(11);
  std::vector<Draw> draws;
  for (int i = 0; i < kDraws; ++i) draws.push_back(draw_of(0, random.unit()));
  for (const Drawn& d : sample(z, v, draws, false)) {
    REQUIRE(d.token >= 0);
    seen_s[scattered(d.token)] += 1, seen_n[nearby(d.token)] += 1;
  }
  double chi_s = 0, chi_n = 0;
  for (std::size_t g = 0; g < kGroups; ++g) {
    chi_s += (seen_s[g] - want_s[g]) * (seen_s[g] - want_s[g]) / want_s[g];
    chi_n += (seen_n[g] - want_n[g]) * (seen_n[g] - want_n[g]) / want_n[g];
  }
  INFO(chi_s, " ", chi_n);
  CHECK(chi_s < 103.5);  // 63 degrees of freedom, 0.1 %
  CHECK(chi_n < 103.5);
}

TEST_CASE("bits of draws and log-probabilities do not depend on their number, their place or the filters beside them") {
  R1_NEEDS_GPU();
  for (const i64 v : {1003, 20011}) {
    const i64 rows = 150, ld = padded(v);  // as many as take the other size of block
    auto host = logits_of(rows, v, 2.f, 12);
    for (i64 j = 0; j < v; j += 2) host[size(3 * ld + j)] = 1.f;
    const Array<float> z(host);
    std::vector<Draw> draws;
    std::vector<std::int32_t> targets;
    Random random(13);
    for (std::int32_t i = 0; i < rows; ++i) {
      Draw d = draw_of(i, random.unit(), i % 7 == 0 ? 0.f : 0.8f);
      if (i % 5 == 1) d.top_k = 20, d.top_p = 0.95f;
      if (i % 5 == 2) d.top_p = 0.9f, d.min_p = 1e-3f;
      if (i % 5 == 3) d.top_k = 400;
      draws.push_back(d), targets.push_back(random.below(v));
    }
    const auto all = sample(z, v, draws, true);
    const Array<std::int32_t> dt(targets);
    const Array<float> logprobs(rows), entropies(rows), lse(rows), one(1), one_h(1), one_lse(1);
    logprob_rows(stream(), {z, ld, v, 0.8f}, dt, rows, logprobs, entropies, lse);
    const auto lp = logprobs.get(), h = entropies.get(), l = lse.get();
    std::vector<Draw> backwards(draws.rbegin(), draws.rend());
    const auto turned = sample(z, v, backwards, true);
    bool place = true, number = true, quick = true, learner = true;
    for (std::size_t i = 0; i < draws.size(); ++i) {
      place = place && std::memcmp(&turned[draws.size() - 1 - i], &all[i], sizeof(Drawn)) == 0;
      if (i % 3 != 0 && i % 5 != 3) continue;
      const Drawn alone = sample(z, v, {draws[i]}, true)[0];
      number = number && std::memcmp(&alone, &all[i], sizeof(Drawn)) == 0;
      if (i % 5 == 0) {
        const Drawn unfiltered = sample(z, v, {draws[i]}, false)[0];
        quick = quick && std::memcmp(&unfiltered, &all[i], sizeof(Drawn)) == 0;
      }
      const auto k = static_cast<i64>(i);
      logprob_rows(stream(), {z + k * ld, ld, v, 0.8f}, dt + k, 1, one, one_h, one_lse);
      learner = learner && same_bits(one.get(), 0, lp, k, 1) && same_bits(one_h.get(), 0, h, k, 1) && same_bits(one_lse.get(), 0, l, k, 1);
    }
    CHECK(place);
    CHECK(number);
    CHECK(quick);
    CHECK(learner);
  }
}

TEST_CASE("filters on rows that do not fit a list: many equal logits, flat rows, large k") {
  R1_NEEDS_GPU();
  const i64 v = 20000, ld = padded(v), rows = 4;
  auto host = logits_of(rows, v, 2.f, 14);
  for (i64 j = 0; j < v; ++j) {
    host[size(j)] = 0.25f * static_cast<float>(j % 3);              // three values
    host[size(ld + j)] = 1.f + 1e-3f * host[size(ld + j)];          // nearly flat: all in one bin
    host[size(2 * ld + j)] = j % 50 == 7 ? 2.f : -40.f;             // few tokens hold all the mass
  }
  const Array<float> z(host);
  struct Filter { int k; float p, m; };
  std::vector<Draw> draws;
  Random random(15);
  for (const Filter f : {Filter{0, 0.5f, 0.f}, Filter{3000, 1.f, 0.f}, Filter{5000, 0.7f, 0.f}, Filter{20, 0.9f, 0.f}, Filter{256, 0.5f, 0.1f},
                         Filter{0, 0.999f, 0.f}, Filter{19999, 0.3f, 0.9f}})
    for (int i = 0; i < 12; ++i) {
      Draw d = draw_of(i % 4, random.unit(), i < 6 ? 1.f : 0.7f);
      d.top_k = f.k, d.top_p = f.p, d.min_p = f.m;
      draws.push_back(d);
    }
  const auto got = sample(z, v, draws, true);
  int different = 0;
  std::string which;
  for (std::size_t i = 0; i < draws.size(); ++i) {
    const Draw& d = draws[i];
    const cpu::Sampled want = cpu::sample_row(host.data() + d.row * ld, v, {d.temperature, d.top_k, d.top_p, d.min_p, d.uniform});
    const std::string draw = message("row ", d.row, " top_k ", d.top_k, " top_p ", d.top_p, " min_p ", d.min_p, " t ", d.temperature, " u ", d.uniform, ": ", got[i].token,
                                     " (", got[i].logprob, ") for ", want.token, " (", want.logprob, ")\n");
    if (want.token != got[i].token) ++different, which += draw;  // a uniform or a cut between two roundings
    INFO(draw);
    if (got[i].token == want.token) CHECK(std::abs(got[i].logprob - want.logprob) < 1e-4f);
  }
  INFO(different, " of ", draws.size(), "\n", which);
  CHECK(different <= 3);
}

TEST_CASE("arguments out of range are named") {
  R1_NEEDS_GPU();
  const i64 v = 64;
  const Array<float> z(logits_of(1, v, 1.f, 16)), lse(1), c2(std::vector<float>{1.f});
  const Array<std::int32_t> target(std::vector<std::int32_t>{3});
  const Array<bf16> d(v);
  const auto backward = [&](float t, const float* l, const float* c, i64 n, i64 ld_d) {
    logprob_rows_backward(stream(), {z, v, v, t}, target, n, l, nullptr, nullptr, c, d, ld_d);
  };
  CHECK_THROWS_AS(backward(0.f, lse, nullptr, 1, v), Error);
  CHECK_THROWS_AS(backward(1.f, nullptr, nullptr, 1, v), Error);
  CHECK_THROWS_AS(backward(1.f, lse, c2, 1, v), Error);
  CHECK_THROWS_AS(backward(1.f, lse, nullptr, -1, v), Error);
  CHECK_THROWS_AS(backward(1.f, lse, nullptr, i64{1} << 31, v), Error);
  CHECK_THROWS_AS(backward(1.f, lse, nullptr, 1, 56), Error);
  CHECK_THROWS_AS(logprob_rows(stream(), {z, 62, 62, 1.f}, target, 1, lse, nullptr, nullptr), Error);
  CHECK_THROWS_AS(logprob_rows(stream(), {z, v, v, -1.f}, target, 1, lse, nullptr, nullptr), Error);
}

TEST_CASE("filters keep the CPU's set and draw from it") {
  R1_NEEDS_GPU();
  for (const i64 v : {9, 1000, 151936}) {
    const i64 rows = 2, ld = padded(v);
    auto host = logits_of(rows, v, 3.f, 7);
    for (i64 j = 0; j < v; j += 3) host[size(ld + j)] = 1.5f;  // many ties
    const Array<float> z(host);
    struct Filter { int k; float p, m; };
    std::vector<Draw> draws;
    Random random(8);
    for (const Filter f : {Filter{5, 1.f, 0.f}, Filter{0, 0.9f, 0.f}, Filter{0, 0.3f, 0.f}, Filter{0, 1.f, 0.1f}, Filter{40, 0.8f, 0.02f}, Filter{1, 1.f, 0.f}})
      for (int i = 0; i < 60; ++i) {
        Draw d = draw_of(i % 2, random.unit(), i % 3 == 0 ? 0.6f : 1.f);
        d.top_k = f.k, d.top_p = f.p, d.min_p = f.m;
        draws.push_back(d);
      }
    const auto got = sample(z, v, draws, true);
    int different = 0, logprobs = 0;
    for (std::size_t i = 0; i < draws.size(); ++i) {
      const Draw& d = draws[i];
      const cpu::SamplingArgs args{d.temperature, d.top_k, d.top_p, d.min_p, d.uniform};
      const cpu::Sampled want = cpu::sample_row(host.data() + d.row * ld, v, args);
      different += want.token != got[i].token;
      if (want.token == got[i].token) logprobs += std::abs(want.logprob - got[i].logprob) > 1e-4f;
    }
    INFO("v ", v, ": ", different, " other tokens, ", logprobs, " other log-probabilities of ", draws.size());
    CHECK(different <= 3);
    CHECK(logprobs == 0);
  }
}

TEST_CASE("a row that went bad gives token -1") {
  R1_NEEDS_GPU();
  const i64 v = 1000, ld = padded(v);
  auto host = logits_of(4, v, 1.f, 9);
  host[500] = NAN;
  for (i64 j = 0; j < v; ++j) host[size(ld + j)] = -INFINITY;
  host[size(2 * ld + 1)] = INFINITY;
  const Array<float> z(host);
  for (const bool filtered : {false, true}) {
    const auto got = sample(z, v, {draw_of(0, 0.5), draw_of(1, 0.5), draw_of(2, 0.5), draw_of(3, 0.5)}, filtered);
    CHECK(got[0].token == -1);
    CHECK(got[1].token == -1);
    CHECK(got[2].token == -1);
    CHECK(got[3].token >= 0);
  }
}

}  // namespace r1::gpu::test
