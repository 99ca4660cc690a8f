#include "rl/gae.h"

#include <doctest/doctest.h>

#include <cmath>

#include "rl/coefficients.h"

namespace r1 {
namespace {

TEST_CASE("GAE(1, 1) without values and KL is the outcome reward on each token; lambda 0 is the one-step difference") {
  const std::vector<double> rewards = {0, 0, 0, 0.7}, none(4, 0.0), values = {0.5, -0.2, 0.1, 0.4};
  CHECK(gae(rewards, none, 1, 1).advantages == std::vector<double>{0.7, 0.7, 0.7, 0.7});
  const GaeResult td = gae(rewards, values, 0.9, 0);
  CHECK(td.advantages[0] == doctest::Approx(0.9 * -0.2 - 0.5));
  CHECK(td.advantages[3] == doctest::Approx(0.7 - 0.4));  // the state after the last token is worth 0
  const GaeResult full = gae(rewards, values, 1, 1);
  for (std::size_t t = 0; t < 4; ++t) {
    CHECK(full.advantages[t] == doctest::Approx(0.7 - values[t]));
    CHECK(full.returns[t] == doctest::Approx(0.7));
  }
}

TEST_CASE("the value loss: slopes, and no gradient where the clipped error is the larger one") {
  const std::vector<float> old = {0.f, 0.f, 0.f, 1.f}, returns = {1.f, 1.f, -1.f, 1.1f};
  std::vector<float> v = {0.1f, 0.5f, 0.5f, 1.05f};
  const auto loss = [&] { return value_loss(v, old, returns, 0.2, 10).loss; };
  const ValueLossOutput out = value_loss(v, old, returns, 0.2, 10);
  CHECK(out.clipped == 1);          // moved towards its return by more than the clip
  CHECK(out.d_values[1] == 0.f);
  CHECK(out.d_values[2] == doctest::Approx(1.5 / 10));  // moved away from it: the plain error is larger
  for (std::size_t i = 0; i < v.size(); ++i) {
    const float x = v[i], h = 1.f / 1024;
    v[i] = x + h;
    const double up = loss();
    v[i] = x - h;
    const double down = loss();
    v[i] = x;
    CHECK((up - down) / (2 * h) == doctest::Approx(out.d_values[i]).epsilon(1e-3));
  }
  CHECK(value_loss(v, old, returns, 0, 10).clipped == 0);
}

TEST_CASE("adaptive KL: up when above the target, down when below, by at most a fifth of n / horizon") {
  const AdaptiveKl k{0.1, 1000};
  CHECK(k.next(0.5, 0.11, 100) == doctest::Approx(0.5 * (1 + 0.1 * 0.1)));
  CHECK(k.next(0.5, 9, 100) == doctest::Approx(0.5 * 1.02));
  CHECK(k.next(0.5, 0, 100) == doctest::Approx(0.5 * 0.98));
  CHECK(AdaptiveKl{}.next(0.5, 9, 100) == 0.5);
}

TEST_CASE("adaptive entropy: grows while the entropy is low, falls while it is high, applies while it is low") {
  const AdaptiveEntropy a{true, 0.2, 0.005};
  AdaptiveEntropy::State s{0.01};
  CHECK(a.applied(s) == 0);  // nothing measured yet
  a.observe(s, 0.1);
  CHECK(s.coefficient == doctest::Approx(0.015));
  CHECK(a.applied(s) == doctest::Approx(0.015));
  a.observe(s, 0.3);
  CHECK(s.coefficient == doctest::Approx(0.01));
  CHECK(a.applied(s) == 0);
  for (int i = 0; i < 5; ++i) a.observe(s, 1);
  CHECK(s.coefficient == 0);
}

}  // namespace
}  // namespace r1
