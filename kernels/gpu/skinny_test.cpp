// Products for few rows against double precision, with all that is done in the same launch; equal bits run by run.
#include "kernels/gpu/skinny.h"

#include "kernels/gpu/test_support.h"

namespace r1::gpu::test {

TEST_CASE("few rows: products, norm inside, bias, sum, swiglu, logits") {
  R1_NEEDS_GPU();
  struct Shape { i64 n, k; };
  for (const Shape shape : {Shape{1152, 896}, Shape{896, 4864}, Shape{48, 64}, Shape{9728, 896}, Shape{3584, 18944}, Shape{4096, 3072}})
    for (const i64 m : {1, 3, 8}) {
      const auto [n, k] = shape;
      if (k > 10000 && m == 3) continue;
      const auto x = bf16s(m * k, 1), w = bf16s(n * k, 2, 0.1f), bias = bf16s(n, 3), norm = bf16s(k, 4, 0.3f, 1.f);
      const auto h = floats(m * k, 5, 2.f), start = floats(m * n, 6);
      const Array<bf16> dx(x), dw(w), db(bias), dn(norm);
      const Array<float> dh(h), partials(static_cast<i64>(skinny_partial_bytes(n) / 4));
      const Array<std::int32_t> counters(std::vector<std::int32_t>(skinny_counter_bytes(n) / 4, 0));
      const auto product = [&](const std::vector<double>& in, i64 row, i64 column) {
        double sum = 0;
        for (i64 j = 0; j < k; ++j) sum += in[size(row * k + j)] * value(w[size(column * k + j)]);
        return sum;
      };
      std::vector<double> plain(x.size()), normed(h.size());
      for (std::size_t i = 0; i < x.size(); ++i) plain[i] = value(x[i]);
      for (i64 i = 0; i < m; ++i) {
        double sum = 0;
        for (i64 j = 0; j < k; ++j) sum += double{h[size(i * k + j)]} * h[size(i * k + j)];
        const double r = 1 / std::sqrt(sum / static_cast<double>(k) + 1e-5);
        for (i64 j = 0; j < k; ++j) normed[size(i * k + j)] = bf16_rounded(bf16_rounded(h[size(i * k + j)] * r) * value(norm[size(j)]));
      }
      for (const SkinnyOut out : {SkinnyOut::kBias, SkinnyOut::kAdd, SkinnyOut::kSwiglu, SkinnyOut::kLogits})
        for (const bool inside : {false, true}) {
          SkinnyArgs a;
          if (inside) a.h = dh, a.norm = dn, a.eps = 1e-5f;
          else a.x = dx;
          a.w = dw, a.bias = out == SkinnyOut::kBias ? db.ptr() : nullptr, a.m = m, a.n = n, a.k = k, a.out = out;
          const bool halves = out == SkinnyOut::kSwiglu, small = halves || out == SkinnyOut::kBias;
          a.ldy = halves ? n / 2 : n;
          const Array<bf16> y16(m * a.ldy), again16(m * a.ldy);
          const Array<float> y32(start), again32(start);
          a.y = small ? static_cast<void*>(y16.ptr()) : static_cast<void*>(y32.ptr());
          skinny_product(stream(), a, partials, counters);
          a.y = small ? static_cast<void*>(again16.ptr()) : static_cast<void*>(again32.ptr());
          skinny_product(stream(), a, partials, counters);
          const auto got16 = y16.get();
          const auto got32 = y32.get();
          if (small) CHECK(same_bits(got16, again16.get()));
          else CHECK(same_bits(got32, again32.get()));
          const auto& in = inside ? normed : plain;
          Worst worst;
          Random pick(7);
          for (int trial = 0; trial < 400; ++trial) {
            const i64 row = pick.below(m), column = pick.below(a.ldy);
            const double scale = std::sqrt(static_cast<double>(k)) * 0.1;  // of a sum
            if (out == SkinnyOut::kSwiglu) {
              const double gate = product(in, row, column), up = product(in, row, column + n / 2);
              worst.take(value(got16[size(row * a.ldy + column)]), gate / (1 + std::exp(-gate)) * up, 0.02 * scale * scale, 4 * kBf16Step);
            } else if (out == SkinnyOut::kBias) {
              worst.take(value(got16[size(row * a.ldy + column)]), product(in, row, column) + value(bias[size(column)]), 0.02 * scale, 1.5 * kBf16Step);
            } else {
              const double before = out == SkinnyOut::kAdd ? start[size(row * n + column)] : 0.0;
              worst.take(got32[size(row * a.ldy + column)], product(in, row, column) + before, inside ? 0.01 * scale : 1e-4 * scale, 1e-4);
            }
          }
          INFO("m ", m, " n ", n, " k ", k, " out ", static_cast<int>(out), inside ? " norm inside" : "", ": ", worst.ratio);
          CHECK(worst.ratio < 1);
        }
      const auto left = counters.get();
      bool zero = true;
      for (const std::int32_t c : left) zero = zero && c == 0;
      CHECK(zero);
    }
}

}  // namespace r1::gpu::test
