// Latent attention: rotation and heads' products against double precision; attention right to bfloat16, and the same bits for a row
// whether it is decoded or prefilled.
#include "kernels/gpu/latent.h"

#include <algorithm>

#include "kernels/gpu/attention_test_support.h"

namespace r1::gpu::test {
namespace {

// One sequence of `length` rows [heads queries | latent], whose latents lie in scattered pages.
struct LatentCase {
  i64 heads, length, ld;
  float scale = 0.07f;
  std::vector<bf16> rows;
  std::vector<std::int32_t> table;
  Array<bf16> device_rows, pages;
  Array<std::int32_t> device_table;
  LatentPages latents;

  LatentCase(i64 h, i64 n, std::uint64_t seed)
      : heads(h), length(n), ld((h + 1) * kLatentWidth), rows(bf16s(n * ld, seed, 0.7f)), table(size((n + kPage - 1) / kPage)), device_rows(rows),
        pages((2 * static_cast<i64>(table.size()) + 3) * kPage * kLatentWidth), device_table(static_cast<i64>(table.size())) {
    for (std::size_t i = 0; i < table.size(); ++i) table[i] = static_cast<std::int32_t>((i * 2 + 1) % (table.size() * 2 + 1));
    device_table.set(table);
    latents = {pages, kPage * kLatentWidth};
    std::vector<std::int32_t> dst(size(n));
    for (i64 i = 0; i < n; ++i) dst[size(i)] = table[size(i / kPage)] * static_cast<std::int32_t>(kPage) + static_cast<std::int32_t>(i % kPage);
    write_latent(stream(), latents, device_rows + h * kLatentWidth, ld, nullptr, Array<std::int32_t>(dst), n);
  }
  LatentAttentionArgs args(bf16* out) const {
    LatentAttentionArgs a;
    a.pages = latents, a.q = device_rows, a.ld = ld, a.heads = heads, a.scale = scale, a.out = out;
    return a;
  }
  std::vector<bf16> prefill(i64 chunk) const {
    const Array<bf16> out(length * heads * kLatentRank);
    for (i64 begin = 0; begin < length; begin += chunk) {
      const auto items = prefill_items(begin, std::min(length, begin + chunk));
      latent_prefill(stream(), args(out), Array<PrefillItem>(items), static_cast<i64>(items.size()), device_table);
    }
    return out.get();
  }
  std::vector<bf16> decode(int blocks, i64 split) const {
    const DecodeRows decoded(length, split);
    const Array<bf16> out(length * heads * kLatentRank);
    const Array<float> partials(static_cast<i64>(latent_partial_bytes(decoded.slots, heads) / 4));
    const Array<std::int32_t> counters(std::vector<std::int32_t>(size(length * ((heads + 15) / 16)), 0));
    const Array<std::int32_t> count(std::vector<std::int32_t>{static_cast<std::int32_t>(decoded.items.size())});
    latent_decode(stream(), args(out), Array<DecodeItem>(decoded.items), count, device_table, partials, counters, blocks);
    const auto result = out.get();
    const auto left = counters.get();
    CHECK(std::all_of(left.begin(), left.end(), [](std::int32_t v) { return v == 0; }));
    return result;
  }
};

}  // namespace

TEST_CASE("attention over latents is right") {
  R1_NEEDS_GPU();
  for (const i64 heads : {4, 16, 20}) {
    const LatentCase c(heads, 300, 1);
    const auto got = c.prefill(300);
    Worst worst;
    for (const i64 r : {0, 1, 31, 32, 63, 64, 100, 255, 256, 299})
      for (i64 h = 0; h < heads; ++h) {
        std::vector<double> p, out(size(kLatentRank), 0.0);
        double top = -INFINITY, sum = 0;
        const auto key = [&](i64 k, i64 j) { return value(c.rows[size(k * c.ld + heads * kLatentWidth + j)]); };
        for (i64 k = 0; k <= r; ++k) {
          double s = 0;
          for (i64 j = 0; j < kLatentWidth; ++j) s += value(c.rows[size(r * c.ld + h * kLatentWidth + j)]) * key(k, j);
          p.push_back(s * double{c.scale});
          top = std::max(top, p.back());
        }
        for (double& v : p) sum += v = std::exp(v - top);
        for (i64 k = 0; k <= r; ++k)
          for (i64 j = 0; j < kLatentRank; ++j) out[size(j)] += p[size(k)] / sum * key(k, j);
        for (i64 j = 0; j < kLatentRank; ++j) worst.take(value(got[size((r * heads + h) * kLatentRank + j)]), out[size(j)], 6e-3, 6e-3);
      }
    INFO(heads, " heads: ", worst.ratio);
    CHECK(worst.ratio < 1);
  }
}

TEST_CASE("latents: a row has the same bits decoded, prefilled, and prefilled in chunks of any size") {
  R1_NEEDS_GPU();
  for (const i64 heads : {4, 16, 20})
    for (const i64 length : {1, 33, 64, 256, 257, 700}) {
      const LatentCase c(heads, length, 2 + static_cast<std::uint64_t>(length));
      const auto whole = c.prefill(length);
      INFO(heads, " heads, length ", length);
      for (const int blocks : {1, 37, 300}) {
        if (blocks == 1 && length > 300) continue;
        for (const i64 split : {1, 3}) CHECK(same_bits(whole, c.decode(blocks, split)));
      }
      for (const i64 chunk : {17, 100}) CHECK(same_bits(whole, c.prefill(chunk)));
    }
}

TEST_CASE("the heads' products, both ways round, for any number of rows") {
  R1_NEEDS_GPU();
  const i64 heads = 3, nope = 64, v = 128, rank = 192, most = 150, pitch = nope + v;
  const auto w = bf16s(heads * pitch * rank, 1, 0.2f), x = bf16s(most * heads * 200, 2);
  const Array<bf16> dw(w), dx(x);
  for (const bool transposed : {true, false}) {
    HeadProduct p;
    p.x = dx, p.ldx = heads * 200, p.x_pitch = 200, p.w = dw.ptr() + (transposed ? 0 : nope * rank), p.w_pitch = pitch * rank, p.ldw = rank;
    p.heads = heads, p.n = transposed ? rank : v, p.k = transposed ? nope : rank, p.transposed = transposed;
    p.y_pitch = p.n + 8, p.ldy = heads * p.y_pitch;
    std::vector<bf16> all;
    for (const i64 m : {most, i64{1}, i64{70}}) {
      const Array<bf16> y(m * p.ldy);
      p.y = y;
      head_product(stream(), p, m);
      const auto got = y.get();
      if (m == most) {
        all = got;
        Worst worst;
        for (i64 i = 0; i < m; i += 7)
          for (i64 h = 0; h < heads; ++h)
            for (i64 n = 0; n < p.n; ++n) {
              double sum = 0;
              for (i64 k = 0; k < p.k; ++k)
                sum += value(x[size(i * p.ldx + h * 200 + k)]) * value(w[size(h * pitch * rank + (transposed ? k * rank + n : (nope + n) * rank + k))]);
              worst.take(value(got[size(i * p.ldy + h * p.y_pitch + n)]), sum, 1e-3, kBf16Step);
            }
        INFO("transposed ", transposed, ": ", worst.ratio);
        CHECK(worst.ratio <= 1);
      } else {
        for (i64 i = 0; i < m; ++i)
          for (i64 h = 0; h < heads; ++h) CHECK(same_bits(got, i * p.ldy + h * p.y_pitch, all, i * p.ldy + h * p.y_pitch, p.n));
      }
    }
  }
}

TEST_CASE("the rotation of latents' queries and keys") {
  R1_NEEDS_GPU();
  const i64 n = 40;
  const i64 heads = 3, head_dim = 64 + kLatentRope, positions = 50, half = kLatentRope / 2;
  const auto q = bf16s(n * heads * head_dim, 3), key = bf16s(n * kLatentRope, 4);
  const auto cos = floats(positions * half, 5), sin = floats(positions * half, 6);
  std::vector<std::int32_t> at(size(n));
  for (i64 i = 0; i < n; ++i) at[size(i)] = static_cast<std::int32_t>((i * 7) % positions);
  for (const bool interleaved : {true, false}) {
    const Array<bf16> dq(q), dkey(key), rows(n * (heads + 1) * kLatentWidth);
    const Array<float> dcos(cos), dsin(sin);
    const Array<std::int32_t> dat(at);
    LatentRopeArgs p;
    p.q = dq, p.key = dkey, p.ld_q = heads * head_dim, p.ld_key = kLatentRope, p.heads = heads, p.head_dim = head_dim, p.nope = 64;
    p.interleaved = interleaved, p.positions = dat, p.cos = dcos, p.sin = dsin, p.rows = rows;
    latent_rope(stream(), p, n);
    const auto out = rows.get();
    Worst rotated;
    for (i64 i = 0; i < n; ++i)
      for (i64 h = 0; h <= heads; ++h)
        for (i64 j = 0; j < half; ++j) {
          const auto from = [&](i64 e) { return value(h < heads ? q[size((i * heads + h) * head_dim + 64 + e)] : key[size(i * kLatentRope + e)]); };
          const double a = from(interleaved ? 2 * j : j), b = from(interleaved ? 2 * j + 1 : j + half);
          const double c = cos[size(at[size(i)] * half + j)], s = sin[size(at[size(i)] * half + j)];
          const i64 to = (i * (heads + 1) + h) * kLatentWidth + kLatentRank + j;
          rotated.take(value(out[size(to)]), a * c - b * s, 1e-5, kBf16Step);
          rotated.take(value(out[size(to + half)]), b * c + a * s, 1e-5, kBf16Step);
        }
    CHECK(rotated.ratio <= 1);
  }
}

}  // namespace r1::gpu::test
