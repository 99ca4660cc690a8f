// Gradients of attention against double precision written from the definition, with shared prefixes, and finite differences.
#include <algorithm>

#include "kernels/test_support.h"

namespace r1::cpu::test {
namespace {

struct Problem {
  AttentionShape shape;
  std::vector<AttentionSequence> sequences;
  std::int64_t rows, ld, width;
  std::vector<double> qkv, d_out;      // [rows][ld], [rows][width]
  std::vector<double> out, lse;        // forward, in double
  std::int64_t k_at() const { return shape.heads * shape.head_dim; }
  std::int64_t v_at() const { return k_at() + shape.kv_heads * shape.head_dim; }
  // The rows that row r of sequence b sees, in order.
  std::vector<std::int64_t> visible(const AttentionSequence& s, std::int64_t r) const {
    std::vector<std::int64_t> keys;
    for (std::int64_t j = s.prefix_begin; s.prefix_begin >= 0 && j < s.prefix_end; ++j) keys.push_back(j);
    for (std::int64_t j = s.begin; j <= r; ++j) keys.push_back(j);
    if (shape.window > 0 && static_cast<std::int64_t>(keys.size()) > shape.window) keys.erase(keys.begin(), keys.end() - shape.window);
    return keys;
  }
  double q(std::int64_t r, std::int64_t h, std::int64_t i) const { return at(r * ld + h * shape.head_dim + i); }
  double k(std::int64_t r, std::int64_t g, std::int64_t i) const { return at(r * ld + k_at() + g * shape.head_dim + i); }
  double v(std::int64_t r, std::int64_t g, std::int64_t i) const { return at(r * ld + v_at() + g * shape.head_dim + i); }
  double at(std::int64_t i) const { return qkv[static_cast<std::size_t>(i)]; }
};

double capped_score(const AttentionShape& shape, double dot) {
  return shape.softcap > 0 ? shape.softcap * std::tanh(dot * shape.scale / shape.softcap) : dot * shape.scale;
}

// Scores, weights and outputs of one row and head.
std::vector<double> weights(const Problem& p, const std::vector<std::int64_t>& keys, std::int64_t r, std::int64_t h, double* lse) {
  const std::int64_t g = h / (p.shape.heads / p.shape.kv_heads);
  std::vector<double> s;
  double max = -INFINITY, sum = 0;
  for (const std::int64_t j : keys) {
    double dot = 0;
    for (std::int64_t i = 0; i < p.shape.head_dim; ++i) dot += p.q(r, h, i) * p.k(j, g, i);
    s.push_back(capped_score(p.shape, dot));
    max = std::max(max, s.back());
  }
  for (double x : s) sum += std::exp(x - max);
  *lse = max + std::log(sum);
  for (double& x : s) x = std::exp(x - *lse);
  return s;
}

void forward(Problem& p) {
  p.out.assign(static_cast<std::size_t>(p.rows * p.width), 0.0);
  p.lse.assign(static_cast<std::size_t>(p.rows * p.shape.heads), 0.0);
  const std::int64_t d = p.shape.head_dim;
  for (const AttentionSequence& s : p.sequences)
    for (std::int64_t r = s.begin; r < s.end; ++r)
      for (std::int64_t h = 0; h < p.shape.heads; ++h) {
        const auto keys = p.visible(s, r);
        const auto w = weights(p, keys, r, h, &p.lse[static_cast<std::size_t>(r * p.shape.heads + h)]);
        for (std::size_t j = 0; j < keys.size(); ++j)
          for (std::int64_t i = 0; i < d; ++i)
            p.out[static_cast<std::size_t>(r * p.width + h * d + i)] += w[j] * p.v(keys[j], h / (p.shape.heads / p.shape.kv_heads), i);
      }
}

double loss(Problem& p) {
  forward(p);
  double sum = 0;
  for (std::size_t i = 0; i < p.out.size(); ++i) sum += p.out[i] * p.d_out[i];
  return sum;
}

Problem make(const AttentionShape& shape, std::vector<AttentionSequence> sequences, Type type) {
  Problem p;
  p.shape = shape;
  p.sequences = std::move(sequences);
  p.rows = 0;
  for (const auto& s : p.sequences) p.rows = std::max<std::int64_t>(p.rows, s.end);
  p.width = shape.heads * shape.head_dim;
  p.ld = p.width + 2 * shape.kv_heads * shape.head_dim;
  const Array a = random_array(type, p.rows * p.ld, 3), g = random_array(type, p.rows * p.width, 4);
  for (std::int64_t i = 0; i < a.size(); ++i) p.qkv.push_back(a.get(i));
  for (std::int64_t i = 0; i < g.size(); ++i) p.d_out.push_back(g.get(i));
  forward(p);
  return p;
}

Array as_array(Type type, const std::vector<double>& v) {
  Array a(type, static_cast<std::int64_t>(v.size()));
  for (std::size_t i = 0; i < v.size(); ++i) a.set(static_cast<std::int64_t>(i), v[i]);
  return a;
}

Array backward(ComputePool& pool, const Problem& p) {
  const Type type = p.shape.type;
  const Array qkv = as_array(type, p.qkv), out = as_array(type, p.out), d_out = as_array(type, p.d_out);
  std::vector<float> lse(p.lse.begin(), p.lse.end());
  Array d(type, p.rows * p.ld);
  attention_backward(pool, p.shape, qkv.at(0), qkv.at(p.k_at()), qkv.at(p.v_at()), p.ld, out.at(0), p.width, d_out.at(0), p.width,
                     lse.data(), p.sequences.data(), static_cast<std::int64_t>(p.sequences.size()), d.at(0), d.at(p.k_at()),
                     d.at(p.v_at()), p.ld);
  return d;
}

// dS and the gradients in double, with sums of magnitudes for the tolerance.
void expected(const Problem& p, std::vector<double>& grad, std::vector<double>& magnitude) {
  grad.assign(p.qkv.size(), 0.0);
  magnitude.assign(p.qkv.size(), 0.0);
  const std::int64_t d = p.shape.head_dim;
  const auto add = [&](std::int64_t index, double x) {
    grad[static_cast<std::size_t>(index)] += x;
    magnitude[static_cast<std::size_t>(index)] += std::fabs(x);
  };
  for (const AttentionSequence& s : p.sequences)
    for (std::int64_t r = s.begin; r < s.end; ++r)
      for (std::int64_t h = 0; h < p.shape.heads; ++h) {
        const std::int64_t g = h / (p.shape.heads / p.shape.kv_heads);
        const auto keys = p.visible(s, r);
        double lse = 0, delta = 0;
        const auto w = weights(p, keys, r, h, &lse);
        const auto d_out = [&](std::int64_t i) { return p.d_out[static_cast<std::size_t>(r * p.width + h * d + i)]; };
        for (std::int64_t i = 0; i < d; ++i) delta += d_out(i) * p.out[static_cast<std::size_t>(r * p.width + h * d + i)];
        for (std::size_t n = 0; n < keys.size(); ++n) {
          const std::int64_t j = keys[n];
          double dp = 0;
          for (std::int64_t i = 0; i < d; ++i) dp += d_out(i) * p.v(j, g, i);
          double dot = 0;
          for (std::int64_t i = 0; i < d; ++i) dot += p.q(r, h, i) * p.k(j, g, i);
          const double t = p.shape.softcap > 0 ? capped_score(p.shape, dot) / p.shape.softcap : 0;
          const double ds = w[n] * (dp - delta) * p.shape.scale * (1 - t * t);
          for (std::int64_t i = 0; i < d; ++i) {
            add(r * p.ld + h * d + i, ds * p.k(j, g, i));
            add(j * p.ld + p.k_at() + g * d + i, ds * p.q(r, h, i));
            add(j * p.ld + p.v_at() + g * d + i, w[n] * d_out(i));
          }
        }
      }
}

const std::vector<AttentionSequence> kFamilies = {{0, 70, -1, -1}, {70, 90, 0, 70}, {90, 91, 0, 70}, {91, 170, 0, 70},
                                                  {170, 173, -1, -1}, {173, 180, -1, -1}, {180, 200, 173, 177}};

}  // namespace

TEST_CASE("attention_backward agrees with double precision, prefixes included") {
  ComputePool two(2);
  for_each_isa_and_type([&](Type type) {
    for (const AttentionShape& shape : {AttentionShape{6, 2, 32, 0.2f, type}, AttentionShape{2, 2, 80, 0.1f, type}, AttentionShape{4, 2, 32, 0.2f, type, 1.5f, 0},
                                        AttentionShape{4, 2, 32, 0.2f, type, 0, 9}, AttentionShape{2, 1, 32, 0.2f, type, 2.f, 75},
                                        AttentionShape{3, 1, 576, 0.05f, type}}) {
      CAPTURE(shape.softcap);
      CAPTURE(shape.window);
      const Problem p = make(shape, kFamilies, type);
      const Array got = backward(two, p);
      std::vector<double> grad, magnitude;
      expected(p, grad, magnitude);
      double worst = 0;
      // Scores near 10 carry float32 errors of 1e-6, which exp passes on; in bf16 out arrives rounded, which moves delta.
      for (std::size_t i = 0; i < grad.size(); ++i) {
        const double limit = type == Type::kBF16 ? 1.0 / 64 * (magnitude[i] + 1.0) : 2e-5 * (magnitude[i] + 0.2);
        worst = std::fmax(worst, std::fabs(got.get(static_cast<std::int64_t>(i)) - grad[i]) / limit);
      }
      CHECK(worst <= 1.0);
    }
  });
}

TEST_CASE("the expected gradients of this test are the derivatives of its forward pass") {
  Problem p = make({2, 1, 16, 0.25f, Type::kF32, 1.2f, 4}, {{0, 6, -1, -1}, {6, 9, 0, 5}}, Type::kF32);
  std::vector<double> grad, magnitude;
  expected(p, grad, magnitude);
  for (std::size_t i = 0; i < p.qkv.size(); i += 7) {
    const double saved = p.qkv[i], h = 1e-5;
    p.qkv[i] = saved + h;
    const double up = loss(p);
    p.qkv[i] = saved - h;
    const double down = loss(p);
    p.qkv[i] = saved;
    CHECK((up - down) / (2 * h) == doctest::Approx(grad[i]).epsilon(1e-5));
  }
}

TEST_CASE("attention_backward gives the same bits with one and two threads") {
  ComputePool one(1), two(2);
  for_each_isa_and_type([&](Type type) {
    const Problem p = make({6, 3, 64, 0.125f, type}, kFamilies, type);
    const Array x = backward(one, p), y = backward(two, p);
    CHECK(same_bits(x.at(0), y.at(0), x.bytes.size()));
  });
}

TEST_CASE("attention_backward refuses a prefix outside its family") {
  ComputePool pool(1);
  Problem p = make({1, 1, 16, 0.25f, Type::kF32}, {{0, 4, -1, -1}, {4, 8, -1, -1}}, Type::kF32);
  p.sequences[1].prefix_begin = 2;
  p.sequences[1].prefix_end = 6;
  CHECK_THROWS_AS(backward(pool, p), Error);
}

}  // namespace r1::cpu::test
