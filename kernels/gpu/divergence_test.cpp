// Divergences over the vocabulary against their definitions in float64; gradients also against finite differences.
#include "kernels/gpu/divergence.h"

#include <algorithm>
#include <numeric>

#include "kernels/gpu/test_support.h"

namespace r1::gpu::test {
namespace {

i64 padded(i64 v) { return (v + 7) / 8 * 8; }

std::vector<float> logits_of(i64 n, i64 v, float spread, std::uint64_t seed) {
  std::vector<float> z(size(n * padded(v)), NAN);
  Random random(seed);
  for (i64 i = 0; i < n; ++i)
    for (i64 j = 0; j < v; ++j) z[size(i * padded(v) + j)] = random.value() * spread;
  return z;
}

std::vector<double> log_softmax(const std::vector<double>& z, double t) {
  double top = -INFINITY, sum = 0;
  for (double x : z) top = std::max(top, x / t);
  for (double x : z) sum += std::exp(x / t - top);
  std::vector<double> out;
  for (double x : z) out.push_back(x / t - top - std::log(sum));
  return out;
}

// The definition, over outcomes of ln p and ln q.
double divergence(const std::vector<double>& lp, const std::vector<double>& lq, double beta) {
  double sum = 0;
  for (std::size_t i = 0; i < lp.size(); ++i) {
    const double p = std::exp(lp[i]), q = std::exp(lq[i]);
    if (beta == 0) sum += p > 0 ? p * (lp[i] - lq[i]) : 0;
    else if (beta == 1) sum += q > 0 ? q * (lq[i] - lp[i]) : 0;
    else {
      const double m = std::log(beta * p + (1 - beta) * q);
      sum += (p > 0 ? beta * p * (lp[i] - m) : 0) + (q > 0 ? (1 - beta) * q * (lq[i] - m) : 0);
    }
  }
  return sum;
}

// Its gradient in the student's logits: sum_j df/d ln q_j (1[j = i] - q_i) / t, where outcome `of[i]` holds id i.
std::vector<double> gradient(const std::vector<double>& lp, const std::vector<double>& lq, const std::vector<double>& log_ids,
                             const std::vector<std::size_t>& of, double beta, double t) {
  std::vector<double> slope(lp.size());
  double total = 0;
  for (std::size_t i = 0; i < lp.size(); ++i) {
    const double p = std::exp(lp[i]), q = std::exp(lq[i]);
    if (beta == 0) slope[i] = -p;
    else if (beta == 1) slope[i] = q > 0 ? q * (lq[i] - lp[i] + 1) : 0;
    else slope[i] = q > 0 ? (1 - beta) * q * (lq[i] - std::log(beta * p + (1 - beta) * q)) : 0;
    total += slope[i];
  }
  std::vector<double> out(log_ids.size());
  for (std::size_t i = 0; i < out.size(); ++i) {
    const double share = std::exp(log_ids[i] - lq[of[i]]);  // of the outcome's mass
    out[i] = (slope[of[i]] * share - std::exp(log_ids[i]) * total) / t;
  }
  return out;
}

std::vector<double> row_of(const std::vector<float>& z, i64 i, i64 v) { return {z.begin() + i * padded(v), z.begin() + i * padded(v) + v}; }

}  // namespace

TEST_CASE("the reference of this test: its gradient is the slope of its divergence") {
  for (const double beta : {0.0, 1.0, 0.3}) {
    const double t = 1.4;
    std::vector<double> z = {0.3, -1.0, 2.0, 0.1}, y = {1.0, 0.2, 0.4, -0.7};
    std::vector<std::size_t> of = {0, 1, 2, 3};
    const auto lp = log_softmax(y, t), lq = log_softmax(z, t);
    const auto g = gradient(lp, lq, lq, of, beta, t);
    for (std::size_t i = 0; i < z.size(); ++i) {
      auto up = z, down = z;
      up[i] += 1e-5, down[i] -= 1e-5;
      CHECK(g[i] == doctest::Approx((divergence(lp, log_softmax(up, t), beta) - divergence(lp, log_softmax(down, t), beta)) / 2e-5).epsilon(1e-6));
    }
  }
}

TEST_CASE("divergences of whole rows: losses and gradients are the definition's; a row's bits depend on the row alone") {
  R1_NEEDS_GPU();
  for (const i64 v : {7, 1003, 49152, 151936})
    for (const float beta : {0.f, 1.f, 0.5f, 0.1f})
      for (const float t : {1.f, 2.f}) {
        const i64 n = 4, ld = padded(v);
        auto z = logits_of(n, v, 3.f, 1), y = logits_of(n, v, 2.f, 2);
        for (i64 j = 0; j < v; ++j) {
          y[size(ld + j)] = z[size(ld + j)] + 0.01f * y[size(ld + j)];  // nearly equal
          if (j == 3) z[size(2 * ld + j)] = 40.f;                       // sure of itself
        }
        const Array<float> dz(z), dy(y), loss(n), alone(1), quick(n);
        const Array<bf16> d(n * ld), d_alone(ld);
        const float weight = 0.125f;
        const DivergenceArgs args{dz, ld, v, t, beta, weight};
        divergence_rows(stream(), args, dy, ld, n, loss, d, ld);
        divergence_rows(stream(), args, dy, ld, n, quick, nullptr, 0);
        const auto losses = loss.get();
        const auto slopes = d.get();
        CHECK(same_bits(losses, quick.get()));
        Worst worst, slope;
        std::vector<std::size_t> of(size(v));
        std::iota(of.begin(), of.end(), std::size_t{0});
        bool padding = true;
        for (i64 i = 0; i < n; ++i) {
          const auto lp = log_softmax(row_of(y, i, v), t), lq = log_softmax(row_of(z, i, v), t);
          worst.take(losses[size(i)], divergence(lp, lq, beta) * t * t, 2e-5 * t * t, 5e-6);
          const auto want = gradient(lp, lq, lq, of, beta, t);
          double largest = 0;
          for (double g : want) largest = std::max(largest, std::fabs(g));
          for (i64 j = 0; j < v; ++j) slope.take(value(slopes[size(i * ld + j)]), weight * t * t * want[size(j)], weight * t * t * (2e-5 * largest + 1e-9), kBf16Step);
          for (i64 j = v; j < ld; ++j) padding = padding && slopes[size(i * ld + j)] == 0;
          DivergenceArgs one = args;
          one.logits = dz + i * ld;
          divergence_rows(stream(), one, dy + i * ld, ld, 1, alone, d_alone, ld);
          CHECK(same_bits(alone.get(), 0, losses, i, 1));
          CHECK(same_bits(d_alone.get(), 0, slopes, i * ld, ld));
        }
        INFO("v ", v, " beta ", beta, " t ", t, ": losses ", worst.ratio, ", gradients ", slope.ratio);
        CHECK(worst.ratio < 1);
        CHECK(slope.ratio < 1);
        CHECK(padding);
      }
}

TEST_CASE("divergences from the top of a teacher and the rest of its mass; all of a teacher is the teacher") {
  R1_NEEDS_GPU();
  for (const i64 v : {40, 49155})
    for (const i64 k : {i64{1}, i64{8}, i64{600}, v})
      for (const float beta : {0.f, 1.f, 0.5f}) {
        if (k > v) continue;
        const i64 n = 3, ld = padded(v);
        const float t = 1.5f, weight = 0.5f;
        const auto z = logits_of(n, v, 3.f, 3), y = logits_of(n, v, 3.f, 4);
        std::vector<std::int32_t> ids;
        std::vector<float> logprobs, tails;
        std::vector<std::vector<std::size_t>> of;
        std::vector<std::vector<double>> outcomes_p, outcomes_q, all_q;
        for (i64 i = 0; i < n; ++i) {
          const auto lp = log_softmax(row_of(y, i, v), t), lq = log_softmax(row_of(z, i, v), t);
          std::vector<std::int32_t> order(size(v));
          std::iota(order.begin(), order.end(), 0);
          std::sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) { return lp[size(a)] > lp[size(b)]; });
          std::vector<double> p, q;
          of.emplace_back(size(v), size(k));
          for (i64 j = 0; j < k; ++j) {
            const std::int32_t id = order[size(j)];
            ids.push_back(id), logprobs.push_back(static_cast<float>(lp[size(id)]));
            p.push_back(logprobs.back()), q.push_back(lq[size(id)]);
            of.back()[size(id)] = size(j);
          }
          double rest_p = 0, rest_q = 0;
          for (i64 j = k; j < v; ++j) rest_p += std::exp(lp[size(order[size(j)])]), rest_q += std::exp(lq[size(order[size(j)])]);
          tails.push_back(k < v ? static_cast<float>(std::log(rest_p)) : -INFINITY);
          if (k < v) p.push_back(tails.back()), q.push_back(std::log(rest_q));
          outcomes_p.push_back(p), outcomes_q.push_back(q), all_q.push_back(lq);
        }
        const Array<float> dz(z), dp(logprobs), dt(tails), loss(n), whole(n);
        const Array<std::int32_t> di(ids);
        const Array<bf16> d(n * ld);
        const DivergenceArgs args{dz, ld, v, t, beta, weight};
        divergence_rows_top_k(stream(), args, {di, dp, dt, k}, n, loss, d, ld);
        const auto losses = loss.get();
        const auto slopes = d.get();
        Worst worst, slope;
        for (i64 i = 0; i < n; ++i) {
          worst.take(losses[size(i)], divergence(outcomes_p[size(i)], outcomes_q[size(i)], beta) * t * t, 5e-5, 1e-5);
          const auto want = gradient(outcomes_p[size(i)], outcomes_q[size(i)], all_q[size(i)], of[size(i)], beta, t);
          double largest = 0;
          for (double g : want) largest = std::max(largest, std::fabs(g));
          for (i64 j = 0; j < v; ++j) slope.take(value(slopes[size(i * ld + j)]), weight * t * t * want[size(j)], weight * t * t * (5e-5 * largest + 1e-9), kBf16Step);
        }
        INFO("v ", v, " k ", k, " beta ", beta, ": losses ", worst.ratio, ", gradients ", slope.ratio);
        CHECK(worst.ratio < 1);
        CHECK(slope.ratio < 1);
        if (k == v) {
          divergence_rows(stream(), args, Array<float>(y), ld, n, whole, nullptr, 0);
          const auto want = whole.get();
          for (i64 i = 0; i < n; ++i) CHECK(std::fabs(losses[size(i)] - want[size(i)]) < 5e-5);
        }
      }
}

TEST_CASE("what went bad is seen in the loss, and arguments out of range are named") {
  R1_NEEDS_GPU();
  const i64 v = 100, ld = padded(v);
  auto z = logits_of(3, v, 1.f, 5), y = logits_of(3, v, 1.f, 6);
  z[7] = NAN;
  y[size(ld + 7)] = NAN;
  const Array<float> dz(z), dy(y), loss(3), logprobs(std::vector<float>{-1.f, -1.f}), tail(std::vector<float>{-1.f});
  const Array<bf16> d(3 * ld);
  for (const float beta : {0.f, 1.f, 0.5f}) {
    divergence_rows(stream(), {dz, ld, v, 1.f, beta, 1.f}, dy, ld, 3, loss, d, ld);
    const auto got = loss.get();
    CHECK_FALSE(std::isfinite(got[0]));
    CHECK_FALSE(std::isfinite(got[1]));
    CHECK(std::isfinite(got[2]));
  }
  const Array<std::int32_t> ids(std::vector<std::int32_t>{3, 100});
  divergence_rows_top_k(stream(), {dz + 2 * ld, ld, v, 1.f, 0.f, 1.f}, {ids, logprobs, tail, 2}, 1, loss, d, ld);
  CHECK(std::isnan(loss.get()[0]));
  const auto run = [&](DivergenceArgs a, i64 ld_d) { divergence_rows(stream(), a, dy, ld, 1, loss, d, ld_d); };
  CHECK_THROWS_AS(run({dz, ld, v, 0.f, 0.f, 1.f}, ld), Error);
  CHECK_THROWS_AS(run({dz, ld, v, 1.f, 1.5f, 1.f}, ld), Error);
  CHECK_THROWS_AS(run({dz, ld, 200, 1.f, 0.f, 1.f}, ld), Error);
  CHECK_THROWS_AS(run({dz, ld, v, 1.f, 0.f, 1.f}, 96), Error);
  CHECK_THROWS_AS(divergence_rows_top_k(stream(), {dz, ld, v, 1.f, 0.f, 1.f}, {ids, logprobs, tail, 101}, 1, loss, d, ld), Error);
}

}  // namespace r1::gpu::test
