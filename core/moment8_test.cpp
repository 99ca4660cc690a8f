// Moments in 8 bits: what the codes hold, that chance leaves the mean right, and AdamW on them against AdamW in float32.
#include "core/moment8.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "core/rng.h"

namespace r1 {
namespace {

std::uint32_t bits_of(float x) { return std::bit_cast<std::uint32_t>(x); }

struct Unit {  // uniform, [0, 1)
  std::uint64_t state;
  double operator()() { return to_unit(mix64(state += 0x9E3779B97F4A7C15ull)); }
};

}  // namespace

TEST_CASE("a code's number gives the code again, whatever the chance") {
  for (const int scale : {1, 2, 20, 127, 200, 253}) {
    for (const std::uint32_t dither : {0u, kNearestDither, 0xFFFFFu}) {
      int wrong = 0;
      for (int code = 0; code < 256; ++code) {
        const auto c = static_cast<std::uint8_t>(code);
        const auto s = static_cast<std::uint8_t>(scale);
        // Next to the smallest float32 a code's own number is rounded away: scales below 20 are for the rest of the range.
        if (scale < 20 && (code & 127) < 64) continue;
        wrong += encode_exp_avg(decode_exp_avg(c, s), s, dither) != c;
        if (scale >= 20 || code >= 200) wrong += encode_exp_avg_sq(decode_exp_avg_sq(c, s), s, dither) != c;
      }
      CAPTURE(scale);
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("the range and the steps of the codes are the documented ones") {
  constexpr std::uint8_t kOne = 127;  // scale 1
  CHECK(decode_exp_avg(127, kOne) == 1.875f);
  CHECK(decode_exp_avg(255, kOne) == -1.875f);
  CHECK(decode_exp_avg(1, kOne) == 0x1p-17f);
  CHECK(decode_exp_avg(0, kOne) == 0.f);
  CHECK(decode_exp_avg_sq(255, kOne) == 1.875f);
  CHECK(decode_exp_avg_sq(1, kOne) == 0x1p-33f);
  for (int c = 9; c < 127; ++c) {
    const double step = double{decode_exp_avg(static_cast<std::uint8_t>(c + 1), kOne)} / decode_exp_avg(static_cast<std::uint8_t>(c), kOne);
    CHECK(step >= 1 + 1.0 / 15);
    CHECK(step <= 1.125);
  }
}

TEST_CASE("the largest number of a block fits, and no second moment becomes 0") {
  Unit random{3};
  for (int i = 0; i < 20000; ++i) {
    const float x = static_cast<float>(std::exp((random() - 0.5) * 160));
    const std::uint8_t scale = moment_scale(bits_of(x));
    // Rounded up by chance it is at most one step above, never cut to the largest code.
    const float up = decode_exp_avg(encode_exp_avg(x, scale, 0xFFFFFu), scale), down = decode_exp_avg(encode_exp_avg(x, scale, 0), scale);
    REQUIRE(up >= x);
    REQUIRE(down <= x);
    REQUIRE(up <= down * 1.1251f);
  }
  CHECK(encode_exp_avg_sq(1e-30f, 127, 0) == 1);
  CHECK(encode_exp_avg_sq(0.f, 127, 0xFFFFFu) == 0);
  CHECK(encode_exp_avg_sq(INFINITY, moment_scale(bits_of(INFINITY)), 0) == 255);
  CHECK(encode_exp_avg(-INFINITY, moment_scale(bits_of(INFINITY)), 0) == 255);
}

TEST_CASE("rounding by chance leaves the mean right, from the largest number down to below the smallest code") {
  Unit random{5};
  for (const double magnitude : {1.7, 0.3, 1e-2, 1e-4, 1e-5, 2e-6}) {
    const auto x = static_cast<float>(magnitude);
    double m = 0, v = 0;
    constexpr int kDraws = 100'000;
    for (int i = 0; i < kDraws; ++i) {
      const MomentDither d = moment_dither(static_cast<std::uint64_t>(i) * 7919, moment_key(static_cast<std::uint64_t>(i % 13)));
      m += decode_exp_avg(encode_exp_avg(-x, 127, d.exp_avg), 127);
      v += decode_exp_avg_sq(encode_exp_avg_sq(x, 127, d.exp_avg_sq), 127);
    }
    CAPTURE(magnitude);
    // A step of 12.5 % or 2^-17, its deviation at most half of it; five deviations of the mean.
    const double bound = 5 * std::max(0.125 * magnitude, 0x1p-17) / 2 / std::sqrt(kDraws);
    CHECK(std::fabs(m / kDraws + magnitude) < bound);
    CHECK(std::fabs(v / kDraws - magnitude) < 5 * 0.125 * magnitude / 2 / std::sqrt(kDraws));
  }
}

TEST_CASE("AdamW with 8-bit moments follows AdamW with float32 ones on a noisy quadratic; rounding to the nearest code does not") {
  // 1024 parameters with curvatures from 1e-4 to 1, noisy gradients; the loss is that of the last tenth of the steps.
  constexpr int kN = 1024, kSteps = 600;
  enum Kind { kFloat, kChance, kNearest };
  const auto final_loss = [&](Kind kind) {
    std::vector<float> p(kN), m(kN, 0.f), v(kN, 0.f), curvature(kN), target(kN);
    Unit start{1};
    for (int i = 0; i < kN; ++i) {
      curvature[static_cast<std::size_t>(i)] = static_cast<float>(std::pow(10.0, -4 * start()));
      p[static_cast<std::size_t>(i)] = static_cast<float>(2 * start() - 1), target[static_cast<std::size_t>(i)] = static_cast<float>(2 * start() - 1);
    }
    Unit noise{2};
    double sum = 0;
    for (int t = 1; t <= kSteps; ++t) {
      const double c1 = 1 - std::pow(0.9, t), c2 = 1 - std::pow(0.95, t);
      double loss = 0;
      for (std::size_t i = 0; i < kN; ++i) {
        const float d = p[i] - target[i], g = curvature[i] * (d + static_cast<float>(noise() - 0.5));
        loss += 0.5 * static_cast<double>(d) * static_cast<double>(d) / kN;
        m[i] = 0.9f * m[i] + 0.1f * g;
        v[i] = 0.95f * v[i] + 0.05f * g * g;
        p[i] -= static_cast<float>(0.01 * (static_cast<double>(m[i]) / c1) / (std::sqrt(static_cast<double>(v[i]) / c2) + 1e-8));
      }
      if (t > kSteps * 9 / 10) sum += loss / (kSteps / 10);
      if (kind == kFloat) continue;
      for (std::size_t b = 0; b < kN; b += kMomentBlock) {
        std::uint32_t most_m = 0, most_v = 0;
        for (std::size_t i = b; i < b + kMomentBlock; ++i)
          most_m = std::max(most_m, bits_of(std::fabs(m[i]))), most_v = std::max(most_v, bits_of(v[i]));
        const std::uint8_t sm = moment_scale(most_m), sv = moment_scale(most_v);
        for (std::size_t i = b; i < b + kMomentBlock; ++i) {
          MomentDither d = moment_dither(i, moment_key(static_cast<std::uint64_t>(t)));
          if (kind == kNearest) d = {kNearestDither, kNearestDither};
          m[i] = decode_exp_avg(encode_exp_avg(m[i], sm, d.exp_avg), sm), v[i] = decode_exp_avg_sq(encode_exp_avg_sq(v[i], sv, d.exp_avg_sq), sv);
        }
      }
    }
    return sum;
  };
  const double exact = final_loss(kFloat), chance = final_loss(kChance), nearest = final_loss(kNearest);
  MESSAGE("final loss: float32 ", exact, ", 8-bit ", chance, ", 8-bit without chance ", nearest);
  CHECK(exact < 0.01);
  CHECK(std::fabs(chance / exact - 1) < 0.05);
  // Second moments that never fall by less than half a step stay too large: smaller steps than the rate says.
  CHECK(std::fabs(nearest / exact - 1) > 0.2);
}

}  // namespace r1
