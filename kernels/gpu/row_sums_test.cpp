// Gradients that sum over rows against double precision; twice the same bits; dx of a row does not depend on its neighbours.
#include <numeric>

#include "kernels/gpu/test_support.h"

namespace r1::gpu::test {
namespace {

struct NormBatch {
  std::vector<bf16> dy, w;
  std::vector<float> x, rstd, d_x;
};

struct NormResult {
  std::vector<float> d_x, dw;
};
NormResult norm_backward(const NormBatch& b, const std::vector<std::int32_t>& rows, i64 n, i64 d, bool store, const std::vector<float>& dw) {
  const Array<float> x(b.x), rstd(b.rstd), d_x(n * d), dw_d(dw);
  if (!store) copy_to_device(stream(), d_x, b.d_x.data(), size(n * d) * sizeof(float));
  const Array<std::int32_t> rows_d(rows);
  const DeviceMemory scratch(row_sum_scratch_bytes(d));
  rms_norm_backward(stream(), Array<bf16>(b.dy), x, rows.empty() ? nullptr : rows_d.ptr(), rstd, Array<bf16>(b.w), n, d, d_x, store, dw_d,
                    scratch.data());
  return {d_x.get(), dw_d.get()};
}

}  // namespace

TEST_CASE("rms_norm_backward: double precision, stored and added, gathered rows, deterministic, rows alone") {
  R1_NEEDS_GPU();
  for (const i64 d : {64, 576, 896, 1536, 3584, 8192})
    for (const i64 n : {1, 7, 64, 1000, 5003}) {
      if (n * d > 6000000) continue;
      CAPTURE(d);
      CAPTURE(n);
      NormBatch b{bf16s(n * d, 20), bf16s(d, 21, 0.3f, 1.f), floats(n * d, 22, 2.f), std::vector<float>(size(n)), floats(n * d, 23)};
      std::vector<std::int32_t> rows(size(n));  // a permutation
      for (i64 i = 0; i < n; ++i) rows[size(i)] = static_cast<std::int32_t>((i * 611 + n / 2) % n);
      if (n % 13 == 0 || n % 47 == 0) std::iota(rows.begin(), rows.end(), 0);
      std::vector<double> want(size(n * d)), want_dw(size(d)), size_dw(size(d));
      const auto dw0 = floats(d, 24);
      for (i64 i = 0; i < n; ++i) {
        const float* x = &b.x[size(rows[size(i)] * d)];
        double sum = 0, dot = 0;
        for (i64 j = 0; j < d; ++j) sum += value(x[j]) * value(x[j]);
        b.rstd[size(i)] = static_cast<float>(1.0 / std::sqrt(sum / static_cast<double>(d) + 1e-6));
        const double r = b.rstd[size(i)];
        for (i64 j = 0; j < d; ++j) {
          const double e = value(b.dy[size(i * d + j)]), xhat = x[j] * r;
          dot += e * value(b.w[size(j)]) * xhat;
          want_dw[size(j)] += e * value(bf16_of(x[j] * b.rstd[size(i)]));  // rounded as in the forward pass
          size_dw[size(j)] += std::fabs(e * xhat);
        }
        for (i64 j = 0; j < d; ++j)
          want[size(i * d + j)] = r * (value(b.dy[size(i * d + j)]) * value(b.w[size(j)]) - x[j] * r * dot / static_cast<double>(d));
      }
      const NormResult stored = norm_backward(b, rows, n, d, true, dw0), added = norm_backward(b, rows, n, d, false, dw0);
      Worst worst, worst_dw;
      for (i64 i = 0; i < n * d; ++i) {
        worst.take(stored.d_x[size(i)], want[size(i)], 1e-5, 1e-5);
        worst.take(added.d_x[size(i)], want[size(i)] + b.d_x[size(i)], 1e-5, 1e-5);
      }
      for (i64 j = 0; j < d; ++j) worst_dw.take(stored.dw[size(j)], want_dw[size(j)] + dw0[size(j)], 1e-6 * size_dw[size(j)] + 1e-6, 1e-6);
      CHECK(worst.ratio <= 1);
      CHECK(worst_dw.ratio <= 1);
      CHECK(same_bits(stored.dw, added.dw));
      const NormResult again = norm_backward(b, rows, n, d, true, dw0);
      CHECK(same_bits(again.d_x, stored.d_x));
      CHECK(same_bits(again.dw, stored.dw));
      // One row alone, without rows.
      const i64 i = n - 1;
      const NormBatch one{rows_of(b.dy, d, {i}), b.w, rows_of(b.x, d, {rows[size(i)]}), {b.rstd[size(i)]}, {}};
      CHECK(same_bits(norm_backward(one, {}, 1, d, true, dw0).d_x, rows_of(stored.d_x, d, {i})));
    }
}

TEST_CASE("qk_norm_rope_backward with norms: double precision, deterministic, rows alone") {
  R1_NEEDS_GPU();
  for (const i64 hd : {64, 96, 128, 256})
    for (const i64 n : {1, 7, 64, 3000}) {
      if (hd > 128 && n > 1000) continue;
      CAPTURE(hd);
      CAPTURE(n);
      const i64 heads = 4, kv = 2, all = heads + kv, ld = (heads + 2 * kv) * hd, half = hd / 2, positions = 50;
      const auto raw = bf16s(n * all * hd, 30), dy = bf16s(n * ld, 31), qw = bf16s(hd, 32, 0.3f, 1.f), kw = bf16s(hd, 33, 0.3f, 1.f);
      std::vector<float> cos(size(positions * half)), sin(cos.size()), rstd(size(n * all));
      for (std::size_t i = 0; i < cos.size(); ++i) cos[i] = static_cast<float>(std::cos(0.1 * static_cast<double>(i))), sin[i] = static_cast<float>(std::sin(0.1 * static_cast<double>(i)));
      std::vector<std::int32_t> at(size(n));
      for (i64 i = 0; i < n; ++i) at[size(i)] = static_cast<std::int32_t>((i * 7) % positions);
      std::vector<double> want(dy.size()), want_dw(size(2 * hd)), size_dw(size(2 * hd));
      for (std::size_t i = 0; i < dy.size(); ++i) want[i] = value(dy[i]);
      for (i64 i = 0; i < n; ++i)
        for (i64 h = 0; h < all; ++h) {
          const bf16* x = &raw[size((i * all + h) * hd)];
          const auto& w = h < heads ? qw : kw;
          double* e = &want[size(i * ld + h * hd)];
          double sum = 0, dot = 0;
          for (i64 j = 0; j < hd; ++j) sum += value(x[j]) * value(x[j]);
          float& kept = rstd[size(i * all + h)];
          kept = static_cast<float>(1.0 / std::sqrt(sum / static_cast<double>(hd) + 1e-6));
          for (i64 j = 0; j < half; ++j) {
            const double c = cos[size(at[size(i)] * half + j)], s = sin[size(at[size(i)] * half + j)], a = e[j], b = e[j + half];
            e[j] = a * c + b * s, e[j + half] = b * c - a * s;
          }
          for (i64 j = 0; j < hd; ++j) {
            const double xhat = value(x[j]) * kept;
            dot += e[j] * value(w[size(j)]) * xhat;
            want_dw[size((h < heads ? 0 : hd) + j)] += e[j] * value(bf16_of(static_cast<float>(value(x[j])) * kept));
            size_dw[size((h < heads ? 0 : hd) + j)] += std::fabs(e[j] * xhat);
          }
          for (i64 j = 0; j < hd; ++j) e[j] = kept * (e[j] * value(w[size(j)]) - value(x[j]) * kept * dot / static_cast<double>(hd));
        }
      const Array<float> cos_d(cos), sin_d(sin);
      const Array<bf16> qw_d(qw), kw_d(kw);
      const DeviceMemory scratch(row_sum_scratch_bytes(hd));
      const auto run = [&](const std::vector<i64>& picked, std::vector<float>& dq, std::vector<float>& dk) {
        const i64 count = static_cast<i64>(picked.size());
        const Array<bf16> data(rows_of(dy, ld, picked)), raw_d(rows_of(raw, all * hd, picked));
        const Array<float> rstd_d(rows_of(rstd, all, picked)), dq_d(floats(hd, 34)), dk_d(floats(hd, 35));
        const Array<std::int32_t> at_d(rows_of(at, 1, picked));
        const QkArgs args{heads, kv, hd, ld, at_d, cos_d, sin_d, qw_d, kw_d, 1e-6f};
        qk_norm_rope_backward(stream(), args, data, count, raw_d, rstd_d, dq_d, dk_d, scratch.data());
        dq = dq_d.get(), dk = dk_d.get();
        return data.get();
      };
      std::vector<i64> every(size(n));
      std::iota(every.begin(), every.end(), 0);
      std::vector<float> dq, dk, dq_again, dk_again;
      const auto got = run(every, dq, dk);
      Worst worst, worst_dw;
      for (i64 i = 0; i < n * ld; ++i) worst.take(value(got[size(i)]), want[size(i)], 1e-5, 1.02 * kBf16Step);
      const auto dq0 = floats(hd, 34), dk0 = floats(hd, 35);
      for (i64 j = 0; j < hd; ++j) {
        worst_dw.take(dq[size(j)], want_dw[size(j)] + dq0[size(j)], 1e-6 * size_dw[size(j)] + 1e-6, 1e-6);
        worst_dw.take(dk[size(j)], want_dw[size(hd + j)] + dk0[size(j)], 1e-6 * size_dw[size(hd + j)] + 1e-6, 1e-6);
      }
      CHECK(worst.ratio <= 1);
      CHECK(worst_dw.ratio <= 1);
      CHECK(same_bits(run(every, dq_again, dk_again), got));
      CHECK(same_bits(dq, dq_again));
      CHECK(same_bits(dk, dk_again));
      CHECK(same_bits(run({n - 1}, dq_again, dk_again), rows_of(got, ld, {n - 1})));
    }
}

TEST_CASE("bias_gradient: double precision, part of a row, deterministic") {
  R1_NEEDS_GPU();
  for (const i64 width : {64, 576, 1152, 4608})
    for (const i64 n : {1, 7, 64, 1000, 20000}) {
      if (n * width > 24000000) continue;
      CAPTURE(width);
      CAPTURE(n);
      const i64 ld = width + 64;
      const auto dy = bf16s(n * ld, 40);
      const auto before = floats(width, 41);
      std::vector<double> want(before.begin(), before.end()), magnitude(size(width));
      for (i64 i = 0; i < n; ++i)
        for (i64 j = 0; j < width; ++j) want[size(j)] += value(dy[size(i * ld + j)]), magnitude[size(j)] += std::fabs(value(dy[size(i * ld + j)]));
      const Array<bf16> dy_d(dy);
      const DeviceMemory scratch(row_sum_scratch_bytes(width));
      const auto run = [&] {
        const Array<float> db(before);
        bias_gradient(stream(), dy_d, n, ld, width, db, scratch.data());
        return db.get();
      };
      const auto got = run();
      Worst worst;
      for (i64 j = 0; j < width; ++j) worst.take(got[size(j)], want[size(j)], 1e-6 * magnitude[size(j)] + 1e-6, 1e-6);
      CHECK(worst.ratio <= 1);
      CHECK(same_bits(run(), got));
    }
}

}  // namespace r1::gpu::test
