#include "kernels/gpu/norms.h"

#include "kernels/gpu/test_support.h"

namespace r1::gpu::test {

TEST_CASE("norms of parts of rows, in place too, and of what is added to the stream") {
  R1_NEEDS_GPU();
  const i64 n = 40, d = 1536, ldx = d + 72, ldy = d + 8;
  const auto x = bf16s(n * ldx, 1), w = bf16s(d, 2, 0.2f, 1.f);
  const Array<bf16> y(n * ldy);
  rms_norm_part(stream(), Array<bf16>(x), ldx, n, d, Array<bf16>(w), 1e-6f, y, ldy);
  const auto got = y.get();
  Worst worst;
  for (i64 i = 0; i < n; ++i) {
    double sum = 0;
    for (i64 j = 0; j < d; ++j) sum += value(x[size(i * ldx + j)]) * value(x[size(i * ldx + j)]);
    const double rstd = 1 / std::sqrt(sum / static_cast<double>(d) + 1e-6);
    for (i64 j = 0; j < d; ++j) worst.take(value(got[size(i * ldy + j)]), value(x[size(i * ldx + j)]) * rstd * value(w[size(j)]), 1e-6, 2.1 * kBf16Step);
  }
  CHECK(worst.ratio <= 1);
  const Array<bf16> in_place(x);
  rms_norm_part(stream(), in_place, ldx, n, d, Array<bf16>(w), 1e-6f, in_place, ldx);
  const auto same = in_place.get();
  for (i64 i = 0; i < n; ++i) {
    CHECK(same_bits(same, i * ldx, got, i * ldy, d));
    CHECK(same_bits(same, i * ldx + d, x, i * ldx + d, ldx - d));
  }

  const auto stream_in = floats(n * d, 3), added = floats(n * d, 4, 3.f);
  const Array<float> out(n * d), alone(d);
  add_rms_norm(stream(), Array<float>(stream_in), Array<float>(added), n, d, Array<bf16>(w), 1e-6f, out);
  const auto sums = out.get();
  Worst worst_sum;
  for (i64 i = 0; i < n; ++i) {
    double sum = 0;
    for (i64 j = 0; j < d; ++j) sum += double{added[size(i * d + j)]} * added[size(i * d + j)];
    const double rstd = 1 / std::sqrt(sum / static_cast<double>(d) + 1e-6);
    for (i64 j = 0; j < d; ++j) {
      const double term = added[size(i * d + j)] * rstd * value(w[size(j)]);
      worst_sum.take(sums[size(i * d + j)], stream_in[size(i * d + j)] + term, 1e-6 + std::fabs(term) * 2.1 * kBf16Step, 1e-6);
    }
  }
  CHECK(worst_sum.ratio <= 1);
  add_rms_norm(stream(), Array<float>(rows_of(stream_in, d, {7})), Array<float>(rows_of(added, d, {7})), 1, d, Array<bf16>(w), 1e-6f, alone);
  CHECK(same_bits(alone.get(), 0, sums, 7 * d, d));
}

}  // namespace r1::gpu::test
