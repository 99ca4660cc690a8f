// The scalar head against float64 sums.
#include "kernels/gpu/scalar_head.h"
#include "kernels/gpu/test_support.h"

namespace r1::gpu::test {

TEST_CASE("a scalar for a row: scores, gradients of rows and head; a row's bits depend on the row alone") {
  R1_NEEDS_GPU();
  for (const auto& [n, d] : {std::pair<i64, i64>{1, 8}, {7, 896}, {300, 136}, {5000, 1536}}) {
    const auto x = bf16s(n * d, 1);
    const auto w = floats(d, 2, 0.1f), c = floats(n, 3), start = floats(d, 4);
    const float bias = 0.25f;
    const Array<bf16> dx(x), d_x(n * d), again(n * d);
    const Array<float> dw(w), dc(c), out(n), head(start), other(start), alone(1);
    const Array<float> scratch(static_cast<i64>(row_sum_scratch_bytes(d) / 4));
    scalar_head(stream(), dx, dw, bias, n, d, out);
    scalar_head_backward(stream(), dx, dw, dc, n, d, d_x, head, scratch);
    scalar_head_backward(stream(), dx, dw, dc, n, d, again, other, scratch);
    const auto scores = out.get(), d_head = head.get();
    const auto rows = d_x.get();
    CHECK(same_bits(rows, again.get()));
    CHECK(same_bits(d_head, other.get()));
    Worst score, row, weight;
    std::vector<double> want(size(d), 0.0), magnitude(size(d), 0.0);
    for (i64 i = 0; i < n; ++i) {
      double sum = bias;
      for (i64 j = 0; j < d; ++j) {
        const double v = value(x[size(i * d + j)]);
        sum += v * w[size(j)];
        want[size(j)] += c[size(i)] * v;
        magnitude[size(j)] += std::fabs(c[size(i)] * v);
        row.take(value(rows[size(i * d + j)]), double{c[size(i)]} * w[size(j)], 0, kBf16Step);
      }
      score.take(scores[size(i)], sum, 0, 1.2e-7);
    }
    for (i64 j = 0; j < d; ++j) weight.take(d_head[size(j)] - start[size(j)], want[size(j)], 1e-6 * (magnitude[size(j)] + 1), 0);
    INFO(n, " x ", d, ": scores ", score.ratio, ", rows ", row.ratio, ", head ", weight.ratio);
    CHECK(score.ratio <= 1);
    CHECK(row.ratio <= 1);
    CHECK(weight.ratio <= 1);
    for (const i64 i : {i64{0}, n / 2, n - 1}) {
      scalar_head(stream(), dx + i * d, dw, bias, 1, d, alone);
      CHECK(same_bits(alone.get(), 0, scores, i, 1));
    }
  }
}

}  // namespace r1::gpu::test
