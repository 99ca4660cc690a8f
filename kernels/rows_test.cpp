// Norms, rotary embedding, SwiGLU and conversion against double precision; gradients by finite differences.
#include <algorithm>
#include <functional>

#include "kernels/test_support.h"

namespace r1::cpu::test {
namespace {

constexpr double kEps = 1e-5;

double rounded(Type type, double x) { return type == Type::kBF16 ? to_float(to_bf16(static_cast<float>(x))) : x; }

// One row in double: y = g * x / sqrt(mean x^2 + eps), without intermediate rounding.
std::vector<double> norm(const std::vector<double>& x, const std::vector<double>& g) {
  double square = 0;
  for (double v : x) square += v * v;
  const double rstd = 1 / std::sqrt(square / static_cast<double>(x.size()) + kEps);
  std::vector<double> y;
  for (std::size_t i = 0; i < x.size(); ++i) y.push_back(g[i] * x[i] * rstd);
  return y;
}

std::vector<double> row(const Array& a, std::int64_t begin, std::int64_t n) {
  std::vector<double> out;
  for (std::int64_t i = 0; i < n; ++i) out.push_back(a.get(begin + i));
  return out;
}

// d/dx_i of sum_j dy_j f_j(x), numerically.
double slope(std::vector<double> x, std::size_t i, const std::vector<double>& dy,
             const std::function<std::vector<double>(const std::vector<double>&)>& f) {
  const double h = 1e-5, saved = x[i];
  double sum = 0;
  for (const double sign : {1.0, -1.0}) {
    x[i] = saved + sign * h;
    const auto y = f(x);
    for (std::size_t j = 0; j < y.size(); ++j) sum += sign * dy[j] * y[j];
  }
  return sum / (2 * h);
}

}  // namespace

TEST_CASE("conversion rounds to nearest even, keeps NaN and infinities") {
  ComputePool pool(2);
  CHECK(to_bf16(1.f) == 0x3f80);
  CHECK(to_bf16(1.00390625f) == 0x3f80);   // half way, to even
  CHECK(to_bf16(1.01171875f) == 0x3f82);   // half way, to even
  CHECK(to_bf16(1.0039064f) == 0x3f81);
  CHECK(to_bf16(INFINITY) == 0x7f80);
  CHECK(to_bf16(3.4e38f) == 0x7f80);
  CHECK(std::isnan(to_float(to_bf16(NAN))));
  CHECK(to_float(0xc000) == -2.f);
  for_each_isa([&](Isa) {
    std::vector<float> in = random_floats(200003, 9, 3.0);
    in[5] = NAN;
    in[6] = INFINITY;
    in[7] = -0.f;
    in[8] = 1e-40f;
    in[200002] = 3.4e38f;
    std::vector<bf16> out(in.size());
    convert(pool, in.data(), out.data(), static_cast<std::int64_t>(in.size()));
    std::vector<float> back(in.size());
    convert(pool, out.data(), back.data(), static_cast<std::int64_t>(in.size()));
    bool right = true;
    for (std::size_t i = 0; i < in.size(); ++i) {
      const float want = to_float(to_bf16(in[i]));
      right = right && out[i] == to_bf16(in[i]) && std::memcmp(&want, &back[i], 4) == 0;
    }
    CHECK(right);
  });
}

TEST_CASE("rms_norm agrees with double precision and gives each row the same bits in any batch") {
  ComputePool one(1), two(2);
  for_each_isa_and_type([&](Type type) {
    for (const std::int64_t d : {1, 17, 64, 576, 1000}) {
      const std::int64_t m = 37;
      const auto x = random_floats(m * d, 1, 2.0);
      const Array g = random_array(type, d, 2);
      Array y(type, m * d);
      std::vector<float> rstd(static_cast<std::size_t>(m));
      rms_norm(two, x.data(), m, d, g.at(0), static_cast<float>(kEps), y.at(0), type, rstd.data());
      double worst = 0;
      bool same = true;
      for (std::int64_t i = 0; i < m; ++i) {
        const std::vector<double> xi(x.begin() + i * d, x.begin() + (i + 1) * d);
        const auto want = norm(xi, row(g, 0, d));
        for (std::int64_t j = 0; j < d; ++j) {
          // bf16: the normalised value is rounded, then the product.
          const double limit = 2 * tolerance(type, std::fabs(want[static_cast<std::size_t>(j)]));
          worst = std::fmax(worst, std::fabs(y.get(i * d + j) - want[static_cast<std::size_t>(j)]) / limit);
        }
        Array alone(type, d);
        float r = 0;
        rms_norm(one, x.data() + i * d, 1, d, g.at(0), static_cast<float>(kEps), alone.at(0), type, &r);
        same = same && same_bits(alone.at(0), y.at(i * d), alone.bytes.size()) && r == rstd[static_cast<std::size_t>(i)];
      }
      CHECK(worst <= 1.0);
      CHECK(same);
    }
  });
}

TEST_CASE("rms_norm casts before the product with g, as HF does") {
  ComputePool pool(1);
  for_each_isa([&](Isa) {
    const std::int64_t d = 64;
    const auto x = random_floats(d, 3);
    const Array g = random_array(Type::kBF16, d, 4);
    Array y(Type::kBF16, d);
    float rstd = 0;
    rms_norm(pool, x.data(), 1, d, g.at(0), static_cast<float>(kEps), y.at(0), Type::kBF16, &rstd);
    for (std::int64_t j = 0; j < d; ++j)
      CHECK(y.get(j) == rounded(Type::kBF16, rounded(Type::kBF16, x[static_cast<std::size_t>(j)] * rstd) * g.get(j)));
  });
}

TEST_CASE("rms_norm_heads works in place at a stride, like rms_norm of each head") {
  ComputePool pool(2);
  for_each_isa_and_type([&](Type type) {
    const std::int64_t m = 9, heads = 3, d = 32, ld = 131;
    const Array x = random_array(type, m * ld, 5), g = random_array(type, d, 6);
    Array y = x;
    std::vector<float> rstd(static_cast<std::size_t>(m * heads));
    rms_norm_heads(pool, y.at(0), m, heads, d, ld, g.at(0), static_cast<float>(kEps), y.at(0), ld, type, rstd.data());
    bool right = true;
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t h = 0; h < heads; ++h) {
        std::vector<float> xi;
        for (std::int64_t j = 0; j < d; ++j) xi.push_back(static_cast<float>(x.get(i * ld + h * d + j)));
        Array alone(type, d);
        float r = 0;
        rms_norm(pool, xi.data(), 1, d, g.at(0), static_cast<float>(kEps), alone.at(0), type, &r);
        right = right && same_bits(alone.at(0), y.at(i * ld + h * d), alone.bytes.size()) && r == rstd[static_cast<std::size_t>(i * heads + h)];
      }
      for (std::int64_t j = heads * d; j < ld; ++j) right = right && y.get(i * ld + j) == x.get(i * ld + j);
    }
    CHECK(right);
  });
}

TEST_CASE("the backward passes of the norms are their derivatives; sums over rows do not depend on threads") {
  ComputePool one(1), two(2);
  for_each_isa_and_type([&](Type type) {
    const std::int64_t m = 150, d = 40;
    const auto x = random_floats(m * d, 7);
    Array xt(type, m * d);
    for (std::int64_t i = 0; i < m * d; ++i) xt.set(i, x[static_cast<std::size_t>(i)]);
    const Array g = random_array(type, d, 8), dy = random_array(type, m * d, 9);
    const auto dx0 = random_floats(m * d, 10), dg0 = random_floats(d, 11);
    for (const bool heads : {false, true}) {
      CAPTURE(heads);
      std::vector<float> rstd(static_cast<std::size_t>(m)), dg = dg0, dg_one = dg0, dx = dx0, dx_one = dx0;
      Array y(type, m * d), dxt(type, m * d), dxt_one(type, m * d);
      if (heads) {
        rms_norm_heads(two, xt.at(0), m / 2, 2, d, 2 * d, g.at(0), static_cast<float>(kEps), y.at(0), 2 * d, type, rstd.data());
        rms_norm_heads_backward(two, xt.at(0), 2 * d, g.at(0), rstd.data(), dy.at(0), 2 * d, type, m / 2, 2, d, dxt.at(0), 2 * d, dg.data());
        rms_norm_heads_backward(one, xt.at(0), 2 * d, g.at(0), rstd.data(), dy.at(0), 2 * d, type, m / 2, 2, d, dxt_one.at(0), 2 * d,
                                dg_one.data());
        CHECK(same_bits(dxt.at(0), dxt_one.at(0), dxt.bytes.size()));
      } else {
        rms_norm(two, x.data(), m, d, g.at(0), static_cast<float>(kEps), y.at(0), type, rstd.data());
        rms_norm_backward(two, x.data(), g.at(0), rstd.data(), dy.at(0), type, m, d, dx.data(), dg.data());
        rms_norm_backward(one, x.data(), g.at(0), rstd.data(), dy.at(0), type, m, d, dx_one.data(), dg_one.data());
        CHECK(same_bits(dx.data(), dx_one.data(), dx.size() * 4));
      }
      CHECK(same_bits(dg.data(), dg_one.data(), dg.size() * 4));
      const double unit = heads && type == Type::kBF16 ? 0.02 : type == Type::kBF16 ? 1e-4 : 2e-5;
      double worst = 0;
      for (std::int64_t i = 0; i < m; i += 29) {
        std::vector<double> xi;
        for (std::int64_t j = 0; j < d; ++j) xi.push_back(heads ? xt.get(i * d + j) : x[static_cast<std::size_t>(i * d + j)]);
        const auto gv = row(g, 0, d);
        for (std::int64_t j = 0; j < d; j += 3) {
          const double want = slope(xi, static_cast<std::size_t>(j), row(dy, i * d, d), [&](const std::vector<double>& v) { return norm(v, gv); });
          const auto at = static_cast<std::size_t>(i * d + j);
          const double got = heads ? dxt.get(i * d + j) : static_cast<double>(dx[at]) - dx0[at];
          worst = std::fmax(worst, std::fabs(got - want) / (unit * (1 + std::fabs(want))));
        }
      }
      CHECK(worst <= 1.0);
      for (std::int64_t j = 0; j < d; j += 5) {
        double want = dg0[static_cast<std::size_t>(j)];
        for (std::int64_t i = 0; i < m; ++i) {
          const double value = heads ? xt.get(i * d + j) : x[static_cast<std::size_t>(i * d + j)];
          want += dy.get(i * d + j) * rounded(type, value * rstd[static_cast<std::size_t>(i)]);
        }
        CHECK(dg[static_cast<std::size_t>(j)] == doctest::Approx(want).epsilon(type == Type::kBF16 ? 2e-3 : 1e-4));
      }
    }
  });
}

TEST_CASE("rope rotates half-split pairs by the position's angle, and back") {
  ComputePool pool(2);
  for_each_isa_and_type([&](Type type) {
    for (const std::int64_t d : {16, 64, 80}) {
      const std::int64_t m = 23, heads = 3, ld = heads * d + 5, positions = 40, half = d / 2;
      std::vector<float> cos(static_cast<std::size_t>(positions * half)), sin(cos.size());
      for (std::size_t i = 0; i < cos.size(); ++i) {
        const double angle = 0.37 * static_cast<double>(i);
        cos[i] = static_cast<float>(std::cos(angle));
        sin[i] = static_cast<float>(std::sin(angle));
      }
      std::vector<std::int32_t> at;
      for (std::int64_t i = 0; i < m; ++i) at.push_back(static_cast<std::int32_t>((i * 7) % positions));
      const Array x = random_array(type, m * ld, 12);
      Array y = x;
      rope(pool, y.at(0), m, heads, d, ld, at.data(), cos.data(), sin.data(), 1.f, type);
      double worst = 0;
      for (std::int64_t i = 0; i < m; ++i)
        for (std::int64_t j = 0; j < ld; ++j) {
          double want = x.get(i * ld + j);
          if (j < heads * d) {
            const std::int64_t h = j / d * d, c = j % d, pair = c % half;
            const auto angle = static_cast<std::size_t>(at[static_cast<std::size_t>(i)] * half + pair);
            const double a = x.get(i * ld + h + pair), b = x.get(i * ld + h + pair + half);
            want = c < half ? a * cos[angle] - b * sin[angle] : b * cos[angle] + a * sin[angle];
          }
          worst = std::fmax(worst, std::fabs(y.get(i * ld + j) - want) / tolerance(type, std::fabs(want) + 0.1));
        }
      CHECK(worst <= 1.0);
      rope(pool, y.at(0), m, heads, d, ld, at.data(), cos.data(), sin.data(), -1.f, type);
      double back = 0;
      for (std::int64_t i = 0; i < x.size(); ++i) back = std::fmax(back, std::fabs(y.get(i) - x.get(i)));
      CHECK(back <= (type == Type::kBF16 ? 0.04 : 1e-5));
    }
  });
}

TEST_CASE("swiglu and its backward pass") {
  ComputePool pool(2);
  const auto silu = [](double g) { return g / (1 + std::exp(-g)); };
  for_each_isa_and_type([&](Type type) {
    for (const std::int64_t f : {1, 24, 333}) {
      const std::int64_t m = 11;
      Array x = random_array(type, m * 2 * f, 13, 3.0);
      x.set(0, -200.0);  // exp overflows in the sigmoid; the result must be 0, not NaN
      const Array dy = random_array(type, m * f, 14);
      Array y(type, m * f), dx(type, m * 2 * f);
      swiglu(pool, x.at(0), m, f, y.at(0), type);
      swiglu_backward(pool, x.at(0), dy.at(0), m, f, dx.at(0), type);
      double worst = 0;
      for (std::int64_t i = 0; i < m; ++i)
        for (std::int64_t j = 0; j < f; ++j) {
          const double g = x.get(i * 2 * f + j), u = x.get(i * 2 * f + f + j), d = dy.get(i * f + j), h = 1e-5;
          const double dg = d * u * (silu(g + h) - silu(g - h)) / (2 * h);
          const auto check = [&](double got, double want) {
            worst = std::fmax(worst, std::fabs(got - want) / tolerance(type, std::fabs(want) + 0.05));
          };
          check(y.get(i * f + j), silu(g) * u);
          check(dx.get(i * 2 * f + j), dg);
          check(dx.get(i * 2 * f + f + j), d * silu(g));
        }
      CHECK(worst <= 1.0);
    }
  });
}

TEST_CASE("the unit-offset gain multiplies by 1 + g before the cast; its gradient is the derivative") {
  ComputePool pool(2);
  for_each_isa_and_type([&](Type type) {
    const std::int64_t m = 70, d = 40;
    const auto x = random_floats(m * d, 21);
    const Array g = random_array(type, d, 22), dy = random_array(type, m * d, 23);
    Array y(type, m * d);
    std::vector<float> rstd(static_cast<std::size_t>(m)), dx(x.size(), 0.f), dg(static_cast<std::size_t>(d), 0.f);
    rms_norm(pool, x.data(), m, d, g.at(0), static_cast<float>(kEps), y.at(0), type, rstd.data(), Gain::kUnitOffset);
    rms_norm_backward(pool, x.data(), g.at(0), rstd.data(), dy.at(0), type, m, d, dx.data(), dg.data(), Gain::kUnitOffset);
    std::vector<double> gain = row(g, 0, d);
    for (double& v : gain) v += 1;
    double worst = 0, worst_slope = 0, worst_gain = 0;
    for (std::int64_t i = 0; i < m; i += 3) {
      const std::vector<double> xi(x.begin() + i * d, x.begin() + (i + 1) * d);
      const auto want = norm(xi, gain);
      for (std::int64_t j = 0; j < d; ++j) {
        const auto u = static_cast<std::size_t>(j);
        worst = std::fmax(worst, std::fabs(y.get(i * d + j) - want[u]) / tolerance(type, std::fabs(want[u])));
        const double s = slope(xi, u, row(dy, i * d, d), [&](const std::vector<double>& v) { return norm(v, gain); });
        worst_slope = std::fmax(worst_slope, std::fabs(dx[static_cast<std::size_t>(i * d + j)] - s) / (1e-4 * (1 + std::fabs(s))));
      }
    }
    for (std::int64_t j = 0; j < d; ++j) {
      double want = 0;
      for (std::int64_t i = 0; i < m; ++i) want += dy.get(i * d + j) * x[static_cast<std::size_t>(i * d + j)] * rstd[static_cast<std::size_t>(i)];
      worst_gain = std::fmax(worst_gain, std::fabs(dg[static_cast<std::size_t>(j)] - want) / (1e-4 * (1 + std::fabs(want))));
    }
    CHECK(worst <= 1.0);
    CHECK(worst_slope <= 1.0);
    CHECK(worst_gain <= 1.0);
  });
}

TEST_CASE("gelu in the gate, and its backward pass") {
  ComputePool pool(2);
  const auto gelu = [](double x) { return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); };
  for_each_isa_and_type([&](Type type) {
    const std::int64_t m = 11, f = 333;
    Array x = random_array(type, m * 2 * f, 13, 3.0);
    x.set(0, -200.0);
    x.set(1, 0.001);  // where a tanh made of a quotient would cancel
    const Array dy = random_array(type, m * f, 14);
    Array y(type, m * f), dx(type, m * 2 * f);
    swiglu(pool, x.at(0), m, f, y.at(0), type, Activation::kGeluTanh);
    swiglu_backward(pool, x.at(0), dy.at(0), m, f, dx.at(0), type, Activation::kGeluTanh);
    double worst = 0;
    for (std::int64_t i = 0; i < m; ++i)
      for (std::int64_t j = 0; j < f; ++j) {
        const double g = x.get(i * 2 * f + j), u = x.get(i * 2 * f + f + j), d = dy.get(i * f + j), h = 1e-5;
        const auto check = [&](double got, double want) {
          worst = std::fmax(worst, std::fabs(got - want) / tolerance(type, std::fabs(want) + 0.05));
        };
        check(y.get(i * f + j), gelu(g) * u);
        check(dx.get(i * 2 * f + j), d * u * (gelu(g + h) - gelu(g - h)) / (2 * h));
        check(dx.get(i * 2 * f + f + j), d * gelu(g));
      }
    CHECK(worst <= 1.0);
  });
}

TEST_CASE("rope_part: interleaved pairs come out half-split, at other places, with the angles of rope; back with the gradient") {
  ComputePool pool(2);
  for (const Type type : {Type::kF32, Type::kBF16}) {
    const std::int64_t m = 9, heads = 3, d = 8, positions = 20;
    std::vector<float> cos(static_cast<std::size_t>(positions * d / 2)), sin(cos.size());
    for (std::size_t i = 0; i < cos.size(); ++i) cos[i] = static_cast<float>(std::cos(0.3 * static_cast<double>(i))), sin[i] = static_cast<float>(std::sin(0.3 * static_cast<double>(i)));
    std::vector<std::int32_t> at;
    for (std::int64_t i = 0; i < m; ++i) at.push_back(static_cast<std::int32_t>((i * 7) % positions));
    const RopePart part{heads, d, 50, 16, 40, 12, true};
    const Array x = random_array(type, m * part.x_ld, 31);
    // The same by rope() on pairs that were sorted before.
    Array sorted(type, m * heads * d), y(type, m * part.y_ld), back(type, m * part.x_ld);
    for (std::int64_t i = 0; i < m; ++i)
      for (std::int64_t h = 0; h < heads; ++h)
        for (std::int64_t j = 0; j < d; ++j) sorted.set((i * heads + h) * d + j % 2 * d / 2 + j / 2, x.get(i * part.x_ld + h * part.x_pitch + j));
    rope(pool, sorted.at(0), m, heads, d, heads * d, at.data(), cos.data(), sin.data(), 1.f, type);
    rope_part(pool, part, x.at(0), y.at(0), m, at.data(), cos.data(), sin.data(), type);
    rope_part_backward(pool, part, y.at(0), back.at(0), m, at.data(), cos.data(), sin.data(), type);
    for (std::int64_t i = 0; i < m; ++i)
      for (std::int64_t h = 0; h < heads; ++h)
        for (std::int64_t j = 0; j < d; ++j) {
          CHECK(y.get(i * part.y_ld + h * part.y_pitch + j) == doctest::Approx(sorted.get((i * heads + h) * d + j)).epsilon(type == Type::kBF16 ? 0.01 : 1e-5));
          // A rotation's gradient is the rotation back.
          CHECK(back.get(i * part.x_ld + h * part.x_pitch + j) == doctest::Approx(x.get(i * part.x_ld + h * part.x_pitch + j)).epsilon(type == Type::kBF16 ? 0.02 : 1e-4).scale(1));
        }
    CHECK_THROWS_AS(rope_part(pool, part, x.at(0), const_cast<void*>(x.at(0)), m, at.data(), cos.data(), sin.data(), type), Error);
  }
}

}  // namespace r1::cpu::test
