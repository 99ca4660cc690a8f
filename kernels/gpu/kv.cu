// Keys and values: rows into pages, and copies of whole pages.
#include "kernels/gpu/common.cuh"
#include "kernels/gpu/kv_layout.h"

namespace r1::gpu {
namespace {

constexpr int kThreads = 256;
constexpr int kPiecesPerThread = 4;  // of 16 bytes, in copies of pages

// One 16-byte piece of a key and of its value a thread.
__global__ void __launch_bounds__(kThreads) write_kv_kernel(KvPages pages, const bf16* __restrict__ k, const bf16* __restrict__ v, i64 ld,
                                                            const std::int32_t* __restrict__ src, const std::int32_t* __restrict__ dst,
                                                            u32 n, const std::int32_t* __restrict__ count) {
  const u32 hd = static_cast<u32>(pages.head_dim), pieces = hd / 8, row_pieces = pieces * static_cast<u32>(pages.kv_heads);
  const u32 item = blockIdx.x * kThreads + threadIdx.x, i = item / row_pieces;
  if (i >= n || (count != nullptr && static_cast<std::int32_t>(i) >= *count)) return;
  const std::int32_t slot = dst[i];
  if (slot < 0) return;
  const u32 within = item - i * row_pieces, head = within / pieces, piece = within - head * pieces;
  const i64 from = (src == nullptr ? static_cast<i64>(i) : src[i]) * ld + within * 8;
  const uint4 key = *reinterpret_cast<const uint4*>(k + from), value = *reinterpret_cast<const uint4*>(v + from);
  const u32 offset = static_cast<u32>(slot) % static_cast<u32>(kPage);
  bf16* tile = pages.base + static_cast<i64>(slot / kPage) * pages.page_stride + static_cast<i64>(head) * 2 * kPage * hd;
  const int at = kv_offset(static_cast<int>(offset), static_cast<int>(piece * 8), static_cast<int>(hd));
  *reinterpret_cast<uint4*>(tile + at) = key;
  *reinterpret_cast<uint4*>(tile + kPage * hd + at) = value;
}

__global__ void __launch_bounds__(kThreads) copy_pages_kernel(std::byte* base, i64 page_bytes, u32 pieces, i64 layer_bytes, u32 blocks,
                                                              const std::int32_t* __restrict__ from, const std::int32_t* __restrict__ to) {
  const u32 page = blockIdx.x / blocks, block = blockIdx.x - page * blocks;
  std::byte* layer = base + static_cast<i64>(blockIdx.y) * layer_bytes;
  const uint4* in = reinterpret_cast<const uint4*>(layer + from[page] * page_bytes);
  uint4* out = reinterpret_cast<uint4*>(layer + to[page] * page_bytes);
  const u32 first = block * kThreads * kPiecesPerThread + threadIdx.x;
  uint4 held[kPiecesPerThread];
#pragma unroll
  for (u32 j = 0; j < kPiecesPerThread; ++j)
    if (first + j * kThreads < pieces) held[j] = in[first + j * kThreads];
#pragma unroll
  for (u32 j = 0; j < kPiecesPerThread; ++j)
    if (first + j * kThreads < pieces) out[first + j * kThreads] = held[j];
}

}  // namespace

void write_kv(Stream s, const KvPages& pages, const bf16* k, const bf16* v, i64 ld, const std::int32_t* src, const std::int32_t* dst,
              i64 n, const std::int32_t* count) {
  if (n == 0) return;
  check_width(pages.head_dim, 16, 256, "write_kv");
  const i64 items = n * pages.kv_heads * (pages.head_dim / 8);
  write_kv_kernel<<<blocks_for(items, kThreads, "write_kv"), kThreads, 0, s>>>(pages, k, v, ld, src, dst, static_cast<u32>(n), count);
  check_launch("write_kv");
}

void copy_pages(Stream s, std::byte* base, i64 page_bytes, i64 bytes, i64 layer_bytes, i64 layers, const std::int32_t* from,
                const std::int32_t* to, i64 n) {
  if (n == 0 || layers == 0 || bytes == 0) return;
  R1_CHECK(bytes % 16 == 0 && page_bytes % 16 == 0 && layer_bytes % 16 == 0, "pages of ", bytes, " bytes, ", page_bytes, " and ",
           layer_bytes, " apart: multiples of 16");
  const u32 pieces = static_cast<u32>(bytes / 16), blocks = (pieces + kThreads * kPiecesPerThread - 1) / (kThreads * kPiecesPerThread);
  const dim3 grid(blocks_for(n * blocks, 1, "copy_pages"), static_cast<unsigned>(layers));
  copy_pages_kernel<<<grid, kThreads, 0, s>>>(base, page_bytes, pieces, layer_bytes, blocks, from, to);
  check_launch("copy_pages");
}

}  // namespace r1::gpu
