// AdamW against the paper's algorithm in double, reductions, and the search for numbers that are not finite.
#include "kernels/gpu/test_support.h"

namespace r1::gpu::test {

TEST_CASE("adamw follows decoupled weight decay, and rewrites the live copy") {
  R1_NEEDS_GPU();
  for (const i64 n : {1, 4, 1023, 70001}) {
    CAPTURE(n);
    const auto p0 = floats(n, 70);
    const Array<float> p(p0), m(std::vector<float>(size(n))), v(std::vector<float>(size(n)));
    const Array<bf16> live(n);
    std::vector<double> pd(p0.begin(), p0.end()), md(size(n)), vd(size(n));
    const double lr = 0.01, b1 = 0.9, b2 = 0.95, eps = 1e-8, decay = 0.1, scale = 0.5;
    for (int step = 1; step <= 3; ++step) {
      const auto g = floats(n, 71 + static_cast<std::uint64_t>(step), 0.1f);
      const double c1 = 1 - std::pow(b1, step), c2 = 1 - std::pow(b2, step);
      adamw(stream(), p, m, v, Array<float>(g), step == 2 ? nullptr : live.ptr(), n,
            {static_cast<float>(lr), static_cast<float>(b1), static_cast<float>(b2), static_cast<float>(eps), static_cast<float>(decay),
             static_cast<float>(c1), static_cast<float>(c2), static_cast<float>(scale)});
      for (std::size_t i = 0; i < p0.size(); ++i) {
        const double grad = g[i] * scale;
        md[i] = b1 * md[i] + (1 - b1) * grad;
        vd[i] = b2 * vd[i] + (1 - b2) * grad * grad;
        pd[i] -= lr * decay * pd[i];
        pd[i] -= lr * (md[i] / c1) / (std::sqrt(vd[i] / c2) + eps);
      }
    }
    const auto got = p.get(), got_m = m.get(), got_v = v.get();
    const auto got_live = live.get();
    Worst worst;
    bool live_right = true;
    for (std::size_t i = 0; i < p0.size(); ++i) {
      worst.take(got[i], pd[i], 2e-6, 0);
      worst.take(got_m[i], md[i], 1e-8, 1e-6);
      worst.take(got_v[i], vd[i], 1e-10, 1e-6);
      live_right = live_right && got_live[i] == bf16_of(got[i]);
    }
    CHECK(worst.ratio <= 1);
    CHECK(live_right);
  }
}

TEST_CASE("sum_of_squares is exact to double, twice the same bits") {
  R1_NEEDS_GPU();
  const DeviceMemory scratch(reduce_scratch_bytes());
  for (const i64 n : {0, 1, 3, 1023, 1024, 100003, 5000001}) {
    CAPTURE(n);
    const auto x = floats(n, 80);
    double want = 0;
    for (float e : x) want += value(e) * value(e);
    const Array<float> xd(x);
    const Array<double> out(2);
    sum_of_squares(stream(), xd, n, out, scratch.data());
    sum_of_squares(stream(), xd, n, out + 1, scratch.data());
    const auto got = out.get();
    CHECK(got[0] == doctest::Approx(want).epsilon(1e-12));
    CHECK(got[0] == got[1]);
  }
}

TEST_CASE("first_non_finite finds the first") {
  R1_NEEDS_GPU();
  const DeviceMemory scratch(reduce_scratch_bytes());
  auto x = floats(3000001, 81);
  x[17] = 3.4e38f;
  const i64 n = static_cast<i64>(x.size());
  const auto find = [&](i64 count) {
    const Array<i64> out(1);
    first_non_finite(stream(), Array<float>(x), count, out, scratch.data());
    return out.get()[0];
  };
  CHECK(find(n) == -1);
  CHECK(find(0) == -1);
  x.back() = NAN;
  CHECK(find(n) == n - 1);
  CHECK(find(n - 1) == -1);
  x[2000002] = -INFINITY;
  CHECK(find(n) == 2000002);
  x[1999999] = INFINITY;
  CHECK(find(n) == 1999999);
  x[1029] = x[5] = NAN;  // one thread's
  CHECK(find(n) == 5);
  x[0] = NAN;
  CHECK(find(n) == 0);
}

}  // namespace r1::gpu::test
