#include "rl/optimizer.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/error.h"
#include "rl/parameter_arena.h"
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

TEST_CASE("a spread master rounds to the same weights, and lets small updates through from the first on") {
  ComputePool pool(1);
  constexpr std::int64_t kN = 20000;
  std::vector<Parameter> parameters = {{"w", {kN}, 0, kN}};
  std::vector<cpu::bf16> start(kN);
  StreamRng rng(3, 1);
  for (auto& w : start) w = cpu::to_bf16(static_cast<float>(0.05 + 0.05 * rng.uniform()));  // cells of 2^-12 or 2^-11
  start[5] = 0;
  const auto moved_share = [&](MasterStart how) {
    std::vector<cpu::bf16> live = start;
    ParameterArena arena({parameters, reinterpret_cast<std::byte*>(live.data()), DType::kBF16, kN}, pool, how);
    for (std::int64_t i = 0; i < kN; ++i)
      REQUIRE(cpu::to_bf16(arena.master()[static_cast<std::size_t>(i)]) == start[static_cast<std::size_t>(i)]);
    CHECK(arena.master()[5] == 0);
    std::fill(arena.gradient().begin(), arena.gradient().end(), 1.f);
    AdamWStep step;
    step.learning_rate = 0x1p-15;  // an eighth or a sixteenth of a cell
    arena.adamw(step);
    std::int64_t moved = 0;
    for (std::int64_t i = 0; i < kN; ++i)
      moved += live[static_cast<std::size_t>(i)] != start[static_cast<std::size_t>(i)];
    return static_cast<double>(moved) / kN;
  };
  CHECK(moved_share(MasterStart::kExact) < 0.001);
  const double share = moved_share(MasterStart::kSpread);
  CHECK(share > 0.06);
  CHECK(share < 0.13);
}

TEST_CASE("a weight that is no number after the step is named") {
  ComputePool pool(1);
  TablePolicy policy(3, pool);
  Optimizer optimizer({});
  policy.logits()[5] = INFINITY;
  CHECK_THROWS_WITH_AS(optimizer.step(policy), doctest::Contains("table"), NumericError);
}

}  // namespace r1
