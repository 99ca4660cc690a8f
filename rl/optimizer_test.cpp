#include "rl/optimizer.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/error.h"
#include "rl/test_support.h"

namespace r1 {

TEST_CASE("schedules") {
  LrOptions o;
  o.peak = 2;
  o.warmup = 4;
  o.total = 14;
  CHECK(learning_rate(o, 0) == doctest::Approx(0.5));
  CHECK(learning_rate(o, 3) == 2);
  CHECK(learning_rate(o, 100) == 2);
  o.schedule = LrSchedule::kLinear;
  CHECK(learning_rate(o, 4) == 2);
  CHECK(learning_rate(o, 9) == doctest::Approx(1));
  CHECK(learning_rate(o, 20) == 0);
  o.schedule = LrSchedule::kCosine;
  CHECK(learning_rate(o, 9) == doctest::Approx(1));
  CHECK(learning_rate(o, 14) == doctest::Approx(0));
  o.schedule = LrSchedule::kCosineWithMinLr;
  o.min_ratio = 0.1;
  CHECK(learning_rate(o, 14) == doctest::Approx(0.2));
  CHECK(learning_rate(o, 9) == doctest::Approx(1.1));
  CHECK_THROWS_AS(parse_lr_schedule("poly"), ConfigError);
}

TEST_CASE("AdamW on a table follows the textbook for three updates, clipping included") {
  ComputePool pool(1);
  TablePolicy policy(2, pool);
  OptimizerOptions o;
  o.learning_rate.peak = 0.1;
  o.weight_decay = 0.2;
  o.max_grad_norm = 0.3;
  Optimizer optimizer(o);
  double p[4] = {0.5, -0.25, 1, 0}, m[4] = {}, v[4] = {};
  for (int i = 0; i < 4; ++i) policy.logits()[static_cast<std::size_t>(i)] = static_cast<float>(p[i]);
  PackedBatch batch;
  batch.tokens = {0, 1};
  batch.positions = {0, 1};
  batch.sequences = {{0, 2, -1, -1}};
  batch.predictors = {0, 1};
  batch.targets = {1, 0};
  for (int t = 1; t <= 3; ++t) {
    policy.zero_gradient();
    policy.forward(batch, 1.f, false);
    const float d[2] = {1.f, -0.5f};
    policy.backward(d, {});
    const auto g = policy.gradient();
    double norm = 0;
    for (float x : g) norm += x * x;
    norm = std::sqrt(norm);
    const UpdateStats s = optimizer.step(policy);
    CHECK(s.grad_norm == doctest::Approx(norm));
    const double scale = std::min(1.0, 0.3 / (norm + 1e-6));
    CHECK(scale < 1);
    for (int i = 0; i < 4; ++i) {
      const double gi = g[static_cast<std::size_t>(i)] * scale;
      m[i] = 0.9 * m[i] + 0.1 * gi;
      v[i] = 0.95 * v[i] + 0.05 * gi * gi;
      p[i] -= 0.1 * 0.2 * p[i];
      p[i] -= 0.1 * (m[i] / (1 - std::pow(0.9, t))) / (std::sqrt(v[i] / (1 - std::pow(0.95, t))) + 1e-8);
      CHECK(policy.logits()[static_cast<std::size_t>(i)] == doctest::Approx(p[i]).epsilon(1e-5));
    }
  }
  CHECK(optimizer.updates() == 3);
}

TEST_CASE("a weight that is no number after the step is named") {
  ComputePool pool(1);
  TablePolicy policy(3, pool);
  Optimizer optimizer({});
  policy.logits()[5] = INFINITY;
  CHECK_THROWS_WITH_AS(optimizer.step(policy), doctest::Contains("table"), NumericError);
}

}  // namespace r1
