// Key and value rows land in their slots and nowhere else; pages are copied in all layers.
#include "kernels/gpu/kv_layout.h"
#include "kernels/gpu/test_support.h"

namespace r1::gpu::test {

TEST_CASE("write_kv puts rows into pages in the layout of kv_layout.h, and touches nothing else") {
  R1_NEEDS_GPU();
  for (const i64 hd : {64, 96, 128}) {
    CAPTURE(hd);
    const i64 kv = 3, pages = 9, stride = kv * 2 * kPage * hd + 128, n = 100, sources = 130, ld = 2 * kv * hd + 64;
    const auto rows = bf16s(sources * ld, 50);
    std::vector<std::int32_t> src(size(n)), dst(size(n));
    for (i64 i = 0; i < n; ++i) {
      src[size(i)] = static_cast<std::int32_t>((i * 17 + 3) % sources);
      dst[size(i)] = i % 10 == 9 ? -1 : static_cast<std::int32_t>((i * 211 + 5) % (pages * kPage));  // 211 and 576 share no factor
    }
    const Array<bf16> rows_d(rows);
    const Array<std::int32_t> src_d(src), dst_d(dst);
    for (const i64 count : {n, i64{37}, i64{0}}) {
      CAPTURE(count);
      std::vector<bf16> want(size(pages * stride), 0xffff);
      for (i64 i = 0; i < count; ++i) {
        if (dst[size(i)] < 0) continue;
        const i64 page = dst[size(i)] / kPage, offset = dst[size(i)] % kPage;
        for (i64 h = 0; h < kv; ++h)
          for (i64 j = 0; j < hd; ++j) {
            const i64 tile = page * stride + h * 2 * kPage * hd + kv_offset(static_cast<int>(offset), static_cast<int>(j), static_cast<int>(hd));
            want[size(tile)] = rows[size(src[size(i)] * ld + h * hd + j)];
            want[size(tile + kPage * hd)] = rows[size(src[size(i)] * ld + kv * hd + h * hd + j)];
          }
      }
      const Array<bf16> cache(pages * stride);
      const KvPages layout{cache, stride, kv, hd};
      const Array<std::int32_t> count_d(std::vector<std::int32_t>{static_cast<std::int32_t>(count)});
      write_kv(stream(), layout, rows_d, rows_d + kv * hd, ld, src_d, dst_d, n, count == n ? nullptr : count_d.ptr());
      CHECK(same_bits(cache.get(), want));
    }
    // src null: row i.
    const Array<bf16> straight(pages * stride), gathered(pages * stride);
    std::vector<std::int32_t> same(size(n));
    for (i64 i = 0; i < n; ++i) same[size(i)] = static_cast<std::int32_t>(i);
    write_kv(stream(), {straight, stride, kv, hd}, rows_d, rows_d + kv * hd, ld, nullptr, dst_d, n);
    write_kv(stream(), {gathered, stride, kv, hd}, rows_d, rows_d + kv * hd, ld, Array<std::int32_t>(same), dst_d, n);
    CHECK(same_bits(straight.get(), gathered.get()));
  }
}

TEST_CASE("kv_piece is a permutation of a row's pieces, and spreads a column over eight of them") {
  for (const int pieces : {2, 4, 8, 12, 16, 24, 32})
    for (int row = 0; row < 64; ++row) {
      std::vector<int> seen(size(pieces));
      for (int p = 0; p < pieces; ++p) ++seen[size(kv_piece(row, p, pieces))];
      bool once = true;
      for (int s : seen) once = once && s == 1;
      CHECK(once);
    }
}

TEST_CASE("copy_pages copies whole pages in every layer") {
  R1_NEEDS_GPU();
  for (const i64 bytes : {16, 4096, 32768, 20496}) {
    CAPTURE(bytes);
    const i64 pages = 12, layers = 3, page_bytes = bytes + 32, layer_bytes = pages * page_bytes + 64;
    std::vector<std::uint8_t> memory(size(layers * layer_bytes));
    Random random(60);
    for (auto& b : memory) b = static_cast<std::uint8_t>(random.below(256));
    const std::vector<std::int32_t> from = {0, 5, 0, 7}, to = {1, 11, 3, 2};
    const Array<std::uint8_t> memory_d(memory);
    copy_pages(stream(), reinterpret_cast<std::byte*>(memory_d.ptr()), page_bytes, bytes, layer_bytes, layers, Array<std::int32_t>(from),
               Array<std::int32_t>(to), 4);
    auto want = memory;
    for (i64 l = 0; l < layers; ++l)
      for (std::size_t i = 0; i < from.size(); ++i)
        std::memcpy(&want[size(l * layer_bytes + to[i] * page_bytes)], &memory[size(l * layer_bytes + from[i] * page_bytes)], size(bytes));
    CHECK(same_bits(memory_d.get(), want));
  }
}

}  // namespace r1::gpu::test
