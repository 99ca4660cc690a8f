// Forward operations on rows and swiglu's backward against double precision, and the promise: a row's bits depend on the row alone.
#include <algorithm>
#include <numeric>

#include "kernels/gpu/test_support.h"

namespace r1::gpu::test {
namespace {

const std::vector<i64> kWidths = {64, 576, 896, 1536, 3584};
const std::vector<i64> kRows = {1, 7, 64, 1000};

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

// cos and sin of `positions` positions, half wide.
struct Angles {
  std::vector<float> cos, sin;
  Angles(i64 positions, i64 half) {
    for (i64 p = 0; p < positions; ++p)
      for (i64 j = 0; j < half; ++j) {
        const double angle = static_cast<double>(p) * std::pow(10000.0, -static_cast<double>(j) / static_cast<double>(half));
        cos.push_back(static_cast<float>(std::cos(angle)));
        sin.push_back(static_cast<float>(std::sin(angle)));
      }
  }
};

}  // namespace

TEST_CASE("conversions are exact, for any length") {
  R1_NEEDS_GPU();
  for (const i64 n : {1, 3, 4, 1027, 100000}) {
    const auto f = floats(n, 1, 100.f);
    const Array<float> in(f), back(n);
    const Array<bf16> half(n);
    to_bf16(stream(), in, half, n);
    to_float(stream(), half, back, n);
    const auto h = half.get();
    const auto b = back.get();
    bool right = true;
    for (i64 i = 0; i < n; ++i) right = right && h[size(i)] == bf16_of(f[size(i)]) && value(h[size(i)]) == b[size(i)];
    CHECK(right);
  }
}

TEST_CASE("embed takes rows of the table, and the last token of a slot for negative ones") {
  R1_NEEDS_GPU();
  for (const i64 d : kWidths) {
    const i64 n = 37, v = 101;
    const auto table = bf16s(v * d, 2);
    std::vector<std::int32_t> tokens(size(n)), last = {5, 100, 0};
    Random random(3);
    for (i64 i = 0; i < n; ++i) tokens[size(i)] = i % 5 == 4 ? -1 - random.below(3) : random.below(v);
    const Array<float> out(n * d);
    embed(stream(), Array<bf16>(table), Array<std::int32_t>(tokens), Array<std::int32_t>(last), n, d, out);
    const auto got = out.get();
    bool right = true;
    for (i64 i = 0; i < n; ++i) {
      const std::int32_t t = tokens[size(i)] < 0 ? last[size(-1 - tokens[size(i)])] : tokens[size(i)];
      for (i64 j = 0; j < d; ++j) right = right && got[size(i * d + j)] == value(table[size(t * d + j)]);
    }
    CHECK(right);
  }
}

TEST_CASE("rms_norm: double precision, gathered rows, and the same bits for a row anywhere") {
  R1_NEEDS_GPU();
  for (const i64 d : kWidths) {
    CAPTURE(d);
    const i64 all = 1000;
    const auto x = floats(all * d, 4, 3.f, 0.1f);
    const auto w = bf16s(d, 5, 0.3f, 1.f);
    const Array<float> xd(x);
    const Array<bf16> wd(w);
    const float eps = 1e-6f;
    std::vector<bf16> whole;
    std::vector<float> whole_rstd;
    for (const i64 n : {all, i64{1}, i64{7}, i64{64}}) {
      CAPTURE(n);
      // The whole batch in order; then n of its rows, gathered in another order.
      std::vector<std::int32_t> rows(size(n));
      for (i64 i = 0; i < n; ++i) rows[size(i)] = static_cast<std::int32_t>(n == all ? i : (i * 613 + 411) % all);
      const Array<std::int32_t> rows_d(rows);
      const Array<bf16> out(n * d);
      const Array<float> rstd(n);
      rms_norm(stream(), xd, n == all ? nullptr : rows_d.ptr(), n, d, wd, eps, out, rstd);
      const auto got = out.get();
      const auto got_rstd = rstd.get();
      if (n == all) {
        whole = got, whole_rstd = got_rstd;
        Worst worst, worst_rstd;
        for (i64 i = 0; i < n; ++i) {
          double sum = 0;
          for (i64 j = 0; j < d; ++j) sum += value(x[size(i * d + j)]) * value(x[size(i * d + j)]);
          const double inverse = 1.0 / std::sqrt(sum / static_cast<double>(d) + eps);
          worst_rstd.take(got_rstd[size(i)], inverse, 0, 2e-6);
          for (i64 j = 0; j < d; ++j)
            worst.take(value(got[size(i * d + j)]), value(x[size(i * d + j)]) * inverse * value(w[size(j)]), 1e-30, 2.02 * kBf16Step);
        }
        CHECK(worst.ratio <= 1);
        CHECK(worst_rstd.ratio <= 1);
        rms_norm(stream(), xd, rows_d, n, d, wd, eps, out, nullptr);  // the same through rows
        CHECK(same_bits(out.get(), whole));
      } else {
        bool same = true;
        for (i64 i = 0; i < n; ++i)
          same = same && same_bits(got, i * d, whole, rows[size(i)] * d, d) && same_bits(got_rstd, i, whole_rstd, rows[size(i)], 1);
        CHECK(same);
      }
    }
  }
}

TEST_CASE("qk_norm_rope: double precision with and without norms, backwards too for rotations alone, same bits anywhere") {
  R1_NEEDS_GPU();
  for (const i64 hd : {64, 96, 128, 256})
    for (const bool with_norms : {false, true}) {
      CAPTURE(hd);
      CAPTURE(with_norms);
      const i64 heads = 5, kv = 2, ld = (heads + 2 * kv) * hd, positions = 300, half = hd / 2, all = 200;
      const Angles angles(positions, half);
      const auto qkv = bf16s(all * ld, 6);
      const auto qw = bf16s(hd, 7, 0.3f, 1.f), kw = bf16s(hd, 8, 0.3f, 1.f);
      std::vector<std::int32_t> at(size(all));
      Random random(9);
      for (auto& p : at) p = random.below(positions);
      const Array<float> cos(angles.cos), sin(angles.sin);
      const Array<bf16> qw_d(qw), kw_d(kw);
      const float eps = 1e-6f;
      const auto run = [&](const std::vector<i64>& picked, std::vector<bf16>& raw_out, std::vector<float>& rstd_out) {
        const i64 n = static_cast<i64>(picked.size());
        const Array<bf16> data(rows_of(qkv, ld, picked)), raw(n * (heads + kv) * hd);
        const Array<float> rstd(n * (heads + kv));
        const Array<std::int32_t> at_d(rows_of(at, 1, picked));
        const QkArgs args{heads, kv, hd, ld, at_d, cos, sin, with_norms ? qw_d.ptr() : nullptr, with_norms ? kw_d.ptr() : nullptr, eps};
        qk_norm_rope(stream(), args, data, n, raw, with_norms ? rstd.ptr() : nullptr);
        raw_out = raw.get(), rstd_out = rstd.get();
        return data.get();
      };
      std::vector<i64> every(size(all));
      std::iota(every.begin(), every.end(), 0);
      std::vector<bf16> raw;
      std::vector<float> rstd;
      const auto got = run(every, raw, rstd);
      Worst worst, worst_rstd;
      bool values_alone = true, raw_right = true;
      for (i64 i = 0; i < all; ++i) {
        for (i64 j = (heads + kv) * hd; j < ld; ++j) values_alone = values_alone && got[size(i * ld + j)] == qkv[size(i * ld + j)];
        for (i64 h = 0; h < heads + kv; ++h) {
          const bf16* in = &qkv[size(i * ld + h * hd)];
          std::vector<double> x(size(hd));
          double sum = 0;
          for (i64 j = 0; j < hd; ++j) {
            x[size(j)] = value(in[j]), sum += x[size(j)] * x[size(j)];
            raw_right = raw_right && raw[size((i * (heads + kv) + h) * hd + j)] == in[j];
          }
          if (with_norms) {
            const double inverse = 1.0 / std::sqrt(sum / static_cast<double>(hd) + eps);
            worst_rstd.take(rstd[size(i * (heads + kv) + h)], inverse, 0, 2e-6);
            for (i64 j = 0; j < hd; ++j) x[size(j)] *= inverse * value((h < heads ? qw : kw)[size(j)]);
          }
          for (i64 j = 0; j < half; ++j) {
            const double c = angles.cos[size(at[size(i)] * half + j)], s = angles.sin[size(at[size(i)] * half + j)];
            const double a = x[size(j)], b = x[size(j + half)];
            // Two roundings of the operands with norms, one of the result.
            const double absolute = (with_norms ? 2.02 : 0.0) * kBf16Step * (std::fabs(a) + std::fabs(b)) + 1e-6;
            worst.take(value(got[size(i * ld + h * hd + j)]), a * c - b * s, absolute, 1.01 * kBf16Step);
            worst.take(value(got[size(i * ld + h * hd + j + half)]), b * c + a * s, absolute, 1.01 * kBf16Step);
          }
        }
      }
      CHECK(worst.ratio <= 1);
      CHECK(worst_rstd.ratio <= 1);
      CHECK(values_alone);
      CHECK(raw_right);

      for (const std::vector<i64>& picked : {std::vector<i64>{150}, std::vector<i64>{3, 150, 7, 199, 0, 42, 41}}) {
        const auto part = run(picked, raw, rstd);
        bool same = true;
        for (std::size_t i = 0; i < picked.size(); ++i) same = same && same_bits(part, static_cast<i64>(i) * ld, got, picked[i] * ld, ld);
        CHECK(same);
      }

      if (!with_norms) {  // the rotation back
        const Array<bf16> data(got);
        const Array<std::int32_t> at_d(at);
        const QkArgs args{heads, kv, hd, ld, at_d, cos, sin, nullptr, nullptr, eps};
        qk_norm_rope_backward(stream(), args, data, all, nullptr, nullptr, nullptr, nullptr, nullptr);
        const auto back = data.get();
        Worst turned;
        for (i64 i = 0; i < all * ld; ++i) turned.take(value(back[size(i)]), value(qkv[size(i)]), 4.0 * kBf16Step, kBf16Step);
        CHECK(turned.ratio <= 1);
      }
    }
}

TEST_CASE("swiglu and its backward: double precision, extreme gates, same bits anywhere") {
  R1_NEEDS_GPU();
  for (const i64 f : {64, 1536, 4864})
    for (const i64 n : kRows) {
      CAPTURE(f);
      CAPTURE(n);
      auto gate_up = bf16s(n * 2 * f, 10, 2.f);
      for (const auto& [i, g] : {std::pair{0, -200.f}, {1, 200.f}, {2, 0.f}, {3, -88.f}}) gate_up[size(i)] = bf16_of(g);
      const auto dy = bf16s(n * f, 11);
      const Array<bf16> in(gate_up), dy_d(dy), out(n * f), d_in(n * 2 * f), again(n * f);
      swiglu(stream(), in, n, f, out);
      swiglu_backward(stream(), dy_d, in, n, f, d_in, again);
      const auto got = out.get(), d = d_in.get();
      CHECK(same_bits(again.get(), got));
      Worst forward, backward;
      for (i64 i = 0; i < n; ++i)
        for (i64 j = 0; j < f; ++j) {
          const double g = value(gate_up[size(i * 2 * f + j)]), u = value(gate_up[size(i * 2 * f + f + j)]), e = value(dy[size(i * f + j)]);
          const double s = sigmoid(g);
          forward.take(value(got[size(i * f + j)]), g * s * u, 1e-30, 1.01 * kBf16Step);
          // Near its zero the derivative of silu cancels: absolute.
          backward.take(value(d[size(i * 2 * f + j)]), e * u * s * (1 + g * (1 - s)), 1e-6 * std::fabs(e * u) + 1e-30, 1.01 * kBf16Step);
          backward.take(value(d[size(i * 2 * f + f + j)]), e * g * s, 1e-30, 1.01 * kBf16Step);
        }
      CHECK(forward.ratio <= 1);
      CHECK(backward.ratio <= 1);
      if (n < 64) continue;
      const std::vector<i64> picked = {n - 1, 5, 0};
      const Array<bf16> part_in(rows_of(gate_up, 2 * f, picked)), part_dy(rows_of(dy, f, picked)), part(3 * f), d_part(3 * 2 * f);
      swiglu(stream(), part_in, 3, f, part);
      swiglu_backward(stream(), part_dy, part_in, 3, f, d_part, nullptr);
      CHECK(same_bits(part.get(), rows_of(got, f, picked)));
      CHECK(same_bits(d_part.get(), rows_of(d, 2 * f, picked)));
    }
}

TEST_CASE("scale_rows and add_row_groups are exact") {
  R1_NEEDS_GPU();
  for (const i64 d : kWidths) {
    CAPTURE(d);
    const i64 n = 100;
    const auto x = bf16s(n * d, 12);
    const auto y = floats(n * d, 13), c = floats(n, 14);
    const Array<bf16> out(n * d);
    const Array<float> in_place(y);
    scale_rows(stream(), Array<bf16>(x), Array<float>(c), n, d, out);
    scale_rows(stream(), in_place, Array<float>(c), n, d);
    const auto half = out.get();
    const auto full = in_place.get();
    bool right = true;
    for (i64 i = 0; i < n * d; ++i) {
      const float scale = c[size(i / d)];
      right = right && half[size(i)] == bf16_of(static_cast<float>(value(x[size(i)])) * scale) && full[size(i)] == y[size(i)] * scale;
    }
    CHECK(right);

    // Groups of 0, 1, 60 and 39 rows; sums in float32 in the order given.
    const std::vector<std::int32_t> first = {0, 0, 1, 61, 100}, target = {3, 9, 0, 5};
    std::vector<std::int32_t> order(size(n));
    for (i64 i = 0; i < n; ++i) order[size(i)] = static_cast<std::int32_t>((i * 37 + 11) % n);
    const auto before = floats(10 * d, 15);
    const Array<float> to(before);
    add_row_groups(stream(), to, Array<float>(y), d, Array<std::int32_t>(target), Array<std::int32_t>(first), Array<std::int32_t>(order), 4);
    auto want = before;
    for (std::size_t u = 0; u < 4; ++u)
      for (i64 j = 0; j < d; ++j) {
        float sum = 0.f;
        for (std::int32_t i = first[u]; i < first[u + 1]; ++i) sum += y[size(order[size(i)] * d + j)];
        if (first[u] < first[u + 1]) want[size(target[u] * d + j)] += sum;
      }
    CHECK(same_bits(to.get(), want));
  }
}

TEST_CASE("widths that a kernel does not take are refused by name") {
  R1_NEEDS_GPU();
  const Array<float> x(64);
  const Array<bf16> w(64), out(64);
  CHECK_THROWS_WITH_AS(rms_norm(stream(), x, nullptr, 1, 12, w, 1e-6f, out, nullptr),
                       "rms_norm: width 12 is not supported: a multiple of 8 up to 8192", DeviceError);
}

}  // namespace r1::gpu::test
