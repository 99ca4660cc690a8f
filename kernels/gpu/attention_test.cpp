// Attention over pages: right to bfloat16, and the same bits for a row whether it is decoded, prefilled whole or in chunks.
#include <algorithm>
#include <numeric>

#include "kernels/gpu/attention_test_support.h"

namespace r1::gpu::test {
namespace {

// One sequence of `length` rows whose keys and values lie in scattered pages.
struct Case {
  Heads h;
  i64 length, ld;
  float scale;
  std::vector<bf16> qkv;
  std::vector<std::int32_t> table;
  Array<bf16> device_qkv, pages;
  Array<std::int32_t> device_table;
  KvPages kv;

  Case(Heads heads, i64 n, std::uint64_t seed)
      : h(heads), length(n), ld((h.q + 2 * h.kv) * h.hd), scale(1.f / std::sqrt(static_cast<float>(h.hd))), qkv(bf16s(n * ld, seed, 1.5f)),
        table(size((n + kPage - 1) / kPage)), device_qkv(qkv), pages((2 * static_cast<i64>(table.size()) + 3) * h.kv * 2 * kPage * h.hd),
        device_table(static_cast<i64>(table.size())) {
    for (std::size_t i = 0; i < table.size(); ++i) table[i] = static_cast<std::int32_t>((i * 2 + 1) % (table.size() * 2 + 1));
    device_table.set(table);
    kv = {pages, h.kv * 2 * kPage * h.hd, h.kv, h.hd};
    // Unwritten slots hold NaN: the kernels must not let them in.
    std::vector<std::int32_t> src(size(n)), dst(size(n));
    for (i64 i = 0; i < n; ++i) src[size(i)] = static_cast<std::int32_t>(i), dst[size(i)] = table[size(i / kPage)] * static_cast<std::int32_t>(kPage) + static_cast<std::int32_t>(i % kPage);
    write_kv(stream(), kv, device_qkv + h.q * h.hd, device_qkv + (h.q + h.kv) * h.hd, ld, Array<std::int32_t>(src), Array<std::int32_t>(dst), n);
    sync();
  }
  static void sync() {
    Event e;
    e.record(stream());
    e.synchronize();
  }
  AttentionArgs args(bf16* out, float* lse) const {
    AttentionArgs a;
    a.pages = kv, a.q = device_qkv, a.ld = ld, a.heads = h.q, a.scale = scale, a.out = out, a.out_ld = h.q * h.hd, a.lse = lse;
    return a;
  }
  struct Result { std::vector<bf16> out; std::vector<float> lse; };
  // In runs of `chunk` rows.
  Result prefill(i64 chunk) const {
    const Array<bf16> out(length * h.q * h.hd);
    const Array<float> lse(length * h.q);
    for (i64 begin = 0; begin < length; begin += chunk) {
      const auto items = prefill_items(begin, std::min(length, begin + chunk));
      attention_prefill(stream(), args(out, lse), Array<PrefillItem>(items), static_cast<i64>(items.size()), device_table);
      sync();
    }
    return {out.get(), lse.get()};
  }
  Result decode(const DecodeGrid& grid, i64 split) const {
    const DecodeRows rows(length, split);
    const Array<bf16> out(length * h.q * h.hd);
    const Array<float> lse(length * h.q), partials(static_cast<i64>(decode_partial_bytes(rows.slots, h.q, h.kv, h.hd) / 4));
    const i64 tiles = (h.q / h.kv + 15) / 16;
    const Array<std::int32_t> counters(std::vector<std::int32_t>(size(length * h.kv * tiles), 0));
    const Array<std::int32_t> count(std::vector<std::int32_t>{static_cast<std::int32_t>(rows.items.size())});
    attention_decode(stream(), args(out, lse), Array<DecodeItem>(rows.items), count, device_table, partials, counters, grid);
    const Result result{out.get(), lse.get()};
    const auto left = counters.get();
    CHECK(std::all_of(left.begin(), left.end(), [](std::int32_t v) { return v == 0; }));
    return result;
  }
};

const std::vector<Heads> kHeads = {{14, 2, 64}, {9, 3, 64}, {4, 4, 128}, {16, 8, 128}, {6, 2, 96}, {2, 1, 256}, {20, 1, 64}};

}  // namespace

TEST_CASE("attention over pages is right") {
  R1_NEEDS_GPU();
  for (const Heads& h : kHeads) {
    const Case c(h, 300, 1);
    const auto got = c.prefill(300);
    Worst out, lse;
    std::vector<i64> keys;
    for (i64 r = 0; r < c.length; ++r) {
      keys.push_back(r);
      if (r % 7 != 0 && r != 255 && r != 256) continue;
      for (i64 head = 0; head < h.q; ++head) {
        const AttentionRow want = attend(c.qkv, h, c.ld, r, head, keys, c.scale);
        lse.take(got.lse[size(r * h.q + head)], want.lse, 2e-3, 1e-4);
        for (i64 j = 0; j < h.hd; ++j) out.take(value(got.out[size((r * h.q + head) * h.hd + j)]), want.out[size(j)], 6e-3, 6e-3);
      }
    }
    INFO(h.q, " ", h.kv, " ", h.hd, " out ", out.ratio, " lse ", lse.ratio);
    CHECK(out.ratio < 1);
    CHECK(lse.ratio < 1);
  }
}

TEST_CASE("a row has the same bits decoded, prefilled, and prefilled in chunks of any size") {
  R1_NEEDS_GPU();
  for (const Heads& h : kHeads) {
    for (const i64 length : {1, 63, 64, 65, 256, 257, 600, 1100}) {
      const Case c(h, length, 2 + static_cast<std::uint64_t>(length));
      const auto whole = c.prefill(length);
      INFO(h.q, " ", h.kv, " ", h.hd, " length ", length);
      for (const int blocks : {1, 37, 700}) {
        if (blocks == 1 && length > 300) continue;
        for (const i64 split : {1, 3}) {
          const auto decoded = c.decode({blocks, split == 1 || blocks == 37}, split);
          CHECK(same_bits(whole.out, decoded.out));
          CHECK(same_bits(whole.lse, decoded.lse));
        }
      }
      for (const i64 chunk : {17, 100}) {
        const auto parts = c.prefill(chunk);
        CHECK(same_bits(whole.out, parts.out));
        CHECK(same_bits(whole.lse, parts.lse));
      }
    }
  }
}

}  // namespace r1::gpu::test
