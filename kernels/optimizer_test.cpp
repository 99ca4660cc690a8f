// AdamW against the paper's algorithm in double, reductions, and the search for numbers that are not finite.
#include "kernels/test_support.h"

namespace r1::cpu::test {

TEST_CASE("adamw follows decoupled weight decay, and rewrites the live copy") {
  ComputePool pool(2);
  for_each_isa([&](Isa) {
    const std::int64_t n = 70001;
    auto p = random_floats(n, 1), m = std::vector<float>(p.size()), v = m;
    std::vector<double> pd(p.begin(), p.end()), md(p.size()), vd(p.size());
    std::vector<bf16> live(p.size());
    const double lr = 0.01, b1 = 0.9, b2 = 0.95, eps = 1e-8, decay = 0.1, scale = 0.5;
    for (int step = 1; step <= 3; ++step) {
      const auto g = random_floats(n, 10 + static_cast<std::uint64_t>(step), 0.1);
      const double c1 = 1 - std::pow(b1, step), c2 = 1 - std::pow(b2, step);
      adamw(pool, p.data(), m.data(), v.data(), g.data(), step == 2 ? nullptr : live.data(), n,
            {static_cast<float>(lr), static_cast<float>(b1), static_cast<float>(b2), static_cast<float>(eps), static_cast<float>(decay),
             static_cast<float>(c1), static_cast<float>(c2), static_cast<float>(scale)});
      for (std::size_t i = 0; i < p.size(); ++i) {
        const double grad = g[i] * scale;
        md[i] = b1 * md[i] + (1 - b1) * grad;
        vd[i] = b2 * vd[i] + (1 - b2) * grad * grad;
        pd[i] -= lr * decay * pd[i];
        pd[i] -= lr * (md[i] / c1) / (std::sqrt(vd[i] / c2) + eps);
      }
    }
    double worst = 0;
    bool live_right = true;
    for (std::size_t i = 0; i < p.size(); ++i) {
      worst = std::fmax(worst, std::fabs(p[i] - pd[i]));
      live_right = live_right && live[i] == to_bf16(p[i]);
    }
    CHECK(worst < 2e-6);
    CHECK(live_right);
  });
}

TEST_CASE("sum_of_squares is exact to double and does not depend on threads") {
  ComputePool one(1), two(2);
  for_each_isa([&](Isa) {
    for (const std::int64_t n : {0, 1, 63, 100003}) {
      const auto x = random_floats(n, 2);
      double want = 0;
      for (float v : x) want += static_cast<double>(v) * v;
      const double got = sum_of_squares(two, x.data(), n);
      CHECK(got == doctest::Approx(want).epsilon(1e-12));
      CHECK(got == sum_of_squares(one, x.data(), n));
    }
  });
}

TEST_CASE("first_non_finite finds the first") {
  ComputePool two(2);
  for_each_isa([&](Isa) {
    auto x = random_floats(200000, 3);
    x[17] = 3.4e38f;
    CHECK(first_non_finite(two, x.data(), 200000) == -1);
    CHECK(first_non_finite(two, x.data(), 0) == -1);
    x[199999] = NAN;
    CHECK(first_non_finite(two, x.data(), 200000) == 199999);
    CHECK(first_non_finite(two, x.data(), 199999) == -1);
    x[150000] = -INFINITY;
    CHECK(first_non_finite(two, x.data(), 200000) == 150000);
    x[3] = INFINITY;
    CHECK(first_non_finite(two, x.data(), 200000) == 3);
  });
}

}  // namespace r1::cpu::test
