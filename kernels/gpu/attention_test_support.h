// Packed sequences, their pages, and attention in double precision, for the tests of both directions.
#pragma once

#include "kernels/gpu/attention.h"
#include "kernels/gpu/kv_layout.h"
#include "kernels/gpu/test_support.h"

namespace r1::gpu::test {

struct Heads { i64 q, kv, hd; };

// ctx[h][row] of one query row over given key rows, double precision. keys: row numbers in qkv.
struct AttentionRow { std::vector<double> out, p; double lse = 0; };
inline AttentionRow attend(const std::vector<bf16>& qkv, const Heads& h, i64 ld, i64 row, i64 head, const std::vector<i64>& keys, double scale) {
  const i64 kv = head / (h.q / h.kv);
  AttentionRow r;
  double top = -INFINITY;
  for (const i64 k : keys) {
    double s = 0;
    for (i64 j = 0; j < h.hd; ++j) s += value(qkv[size(row * ld + head * h.hd + j)]) * value(qkv[size(k * ld + (h.q + kv) * h.hd + j)]);
    r.p.push_back(s * scale);
    top = std::max(top, r.p.back());
  }
  double sum = 0;
  for (double& s : r.p) sum += s = std::exp(s - top);
  r.lse = top + std::log(sum);
  r.out.assign(size(h.hd), 0.0);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    r.p[i] /= sum;
    for (i64 j = 0; j < h.hd; ++j) r.out[size(j)] += r.p[i] * value(qkv[size(keys[i] * ld + (h.q + h.kv + kv) * h.hd + j)]);
  }
  return r;
}

// Rows [begin, end) of a sequence that is at row 0 of the batch and has its pages from table[0] on.
inline std::vector<PrefillItem> prefill_items(i64 begin, i64 end) {
  std::vector<PrefillItem> items;
  for (i64 r = begin; r < end; r += 64)
    items.push_back({static_cast<std::int32_t>(r), static_cast<std::int32_t>(std::min<i64>(64, end - r)), static_cast<std::int32_t>(r), 0});
  return items;
}
// Every row of it as a decoding step of its own, last first; every `split`-th row is cut into its chunks, the others are whole.
struct DecodeRows {
  std::vector<DecodeItem> items;
  std::int32_t slots = 0;
  DecodeRows(i64 length, i64 split) {
    for (i64 r = length; r-- > 0;) {
      const auto chunks = static_cast<std::int32_t>(r / kChunk + 1);
      const auto row = static_cast<std::int32_t>(r);
      if (r % split != 0) {
        items.push_back({row, row, 0, chunks, 0, 0});
        continue;
      }
      for (std::int32_t c = 0; c < chunks; ++c) items.push_back({row, row, c, 1, slots, 0});
      slots += chunks;
    }
  }
};

}  // namespace r1::gpu::test
