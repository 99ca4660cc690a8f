// What surrounds latent attention: rotation of parts of rows, the heads' products with the halves of kv_b, rows into pages.
#include "kernels/gpu/attention_tile.cuh"
#include "kernels/gpu/latent.h"
#include "kernels/gpu/common.cuh"

namespace r1::gpu {
namespace {

constexpr int kThreads = 128;
constexpr int kTile = 64;  // tokens, outputs and depth of a head's product

// One pair a thread; the last head is the key.
__global__ void __launch_bounds__(kThreads) latent_rope_kernel(LatentRopeArgs p, u32 n) {
  constexpr u32 kHalf = kLatentRope / 2;
  const u32 item = blockIdx.x * kThreads + threadIdx.x, heads = static_cast<u32>(p.heads) + 1;
  const u32 pair = item % kHalf, head = item / kHalf % heads, row = item / (kHalf * heads);
  let_next_start();
  wait_for_previous();
  if (row >= n) return;
  const bf16* from = head < p.heads ? p.q + static_cast<i64>(row) * p.ld_q + head * p.head_dim + p.nope : p.key + static_cast<i64>(row) * p.ld_key;
  bf16* to = p.rows + (static_cast<i64>(row) * heads + head) * kLatentWidth + kLatentRank;
  const u32 first = p.interleaved ? 2 * pair : pair, second = p.interleaved ? 2 * pair + 1 : pair + kHalf;
  const i64 angle = static_cast<i64>(p.positions[row]) * kHalf + pair;
  const float a = low(from[first]), b = low(from[second]), c = p.cos[angle], s = p.sin[angle];
  const auto put = [](float v) { return __bfloat16_as_ushort(__float2bfloat16_rn(v)); };
  to[pair] = put(__fsub_rn(__fmul_rn(a, c), __fmul_rn(b, s)));
  to[pair + kHalf] = put(__fadd_rn(__fmul_rn(b, c), __fmul_rn(a, s)));
}

// A block: 64 tokens, 64 outputs of one head; a warp has 16 of the tokens.
template <bool kTransposed>
__global__ void __launch_bounds__(kThreads) head_product_kernel(HeadProduct p, int m) {
  __shared__ __align__(128) bf16 xs[2][kTile * kTile], ws[2][kTile * kTile];
  const int thread = static_cast<int>(threadIdx.x), lane = thread & 31, warp = thread >> 5;
  const int output = static_cast<int>(blockIdx.x) * kTile, head = static_cast<int>(blockIdx.y), token = static_cast<int>(blockIdx.z) * kTile;
  const bf16* x = p.x + head * p.x_pitch + token * p.ldx;
  const bf16* w = p.w + head * p.w_pitch + (kTransposed ? output : output * p.ldw);
  const int steps = static_cast<int>(p.k) / kTile;
  const auto fetch_w = [&](int step) {
    for (int i = thread; i < kTile * 8; i += kThreads) {
      const int r = i >> 3, piece = i & 7;
      copy_async16(ws[step & 1] + kv_offset(r, piece * 8, kTile), w + (kTransposed ? (step * kTile + r) * p.ldw : r * p.ldw + step * kTile) + piece * 8);
    }
  };
  const auto fetch_x = [&](int step) {
    for (int i = thread; i < kTile * 8; i += kThreads) {
      const int r = i >> 3, piece = i & 7;
      const bool there = token + r < m;
      copy_async16(xs[step & 1] + kv_offset(r, piece * 8, kTile), there ? x + r * p.ldx + step * kTile + piece * 8 : x, there);
    }
  };
  let_next_start();
  fetch_w(0);
  wait_for_previous();
  fetch_x(0);
  copy_commit();
  float acc[8][4] = {};
  for (int step = 0; step < steps; ++step) {
    copy_wait<0>();
    __syncthreads();
    if (step + 1 < steps) fetch_w(step + 1), fetch_x(step + 1);
    copy_commit();
    const bf16 *xt = xs[step & 1], *wt = ws[step & 1];
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      std::uint32_t a[2][4];
      load_a<kTile>(a[0], xt, warp * 16, k * 32, lane);
      load_a<kTile>(a[1], xt, warp * 16, k * 32 + 16, lane);
      if constexpr (kTransposed) {
#pragma unroll
        for (int half = 0; half < 2; ++half)
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            std::uint32_t b[4];
            load_b_trans<kTile>(b, wt, k * 32 + half * 16, j * 16, lane);
            mma(acc[2 * j], a[half], b[0], b[1]);
            mma(acc[2 * j + 1], a[half], b[2], b[3]);
          }
      } else {
#pragma unroll
        for (int j = 0; j < 8; ++j) {
          std::uint32_t b[4];
          load_b<kTile>(b, wt, j * 8, k * 32, lane);
          mma(acc[j], a[0], b[0], b[1]);
          mma(acc[j], a[1], b[2], b[3]);
        }
      }
    }
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int r = token + warp * 16 + (lane >> 2) + half * 8;
    if (r >= m) continue;
    bf16* y = p.y + r * p.ldy + head * p.y_pitch + output + (lane & 3) * 2;
#pragma unroll
    for (int j = 0; j < 8; ++j) *reinterpret_cast<std::uint32_t*>(y + j * 8) = pack_bf16(acc[j][half * 2], acc[j][half * 2 + 1]);
  }
}

// One 16-byte piece a thread.
__global__ void __launch_bounds__(kThreads) write_latent_kernel(LatentPages pages, const bf16* __restrict__ rows, i64 ld, const std::int32_t* __restrict__ src,
                                                                const std::int32_t* __restrict__ dst, u32 n) {
  constexpr u32 kPieces = kLatentWidth / 8;
  const u32 item = blockIdx.x * kThreads + threadIdx.x, i = item / kPieces, piece = item - i * kPieces;
  let_next_start();
  wait_for_previous();
  if (i >= n) return;
  const std::int32_t slot = dst[i];
  if (slot < 0) return;
  const i64 from = (src == nullptr ? static_cast<i64>(i) : src[i]) * ld + piece * 8;
  bf16* tile = pages.base + static_cast<i64>(slot / kPage) * pages.page_stride;
  const int offset = slot % static_cast<int>(kPage);
  *reinterpret_cast<uint4*>(tile + kv_offset(offset, static_cast<int>(piece * 8), kLatentWidth)) = *reinterpret_cast<const uint4*>(rows + from);
}

}  // namespace

void latent_rope(Stream s, const LatentRopeArgs& p, i64 n) {
  if (n == 0) return;
  const i64 items = n * (p.heads + 1) * (kLatentRope / 2);
  launch_early(s, latent_rope_kernel, dim3(blocks_for(items, kThreads, "latent_rope")), dim3(kThreads), 0, p, static_cast<u32>(n));
}

void head_product(Stream s, const HeadProduct& p, i64 m) {
  if (m == 0) return;
  R1_CHECK(p.n % kTile == 0 && p.k % kTile == 0, "a head's product of ", p.n, " x ", p.k, ": multiples of ", kTile);
  const dim3 grid(static_cast<unsigned>(p.n / kTile), static_cast<unsigned>(p.heads), static_cast<unsigned>((m + kTile - 1) / kTile));
  if (p.transposed) launch_early(s, head_product_kernel<true>, grid, dim3(kThreads), 0, p, static_cast<int>(m));
  else launch_early(s, head_product_kernel<false>, grid, dim3(kThreads), 0, p, static_cast<int>(m));
}

void write_latent(Stream s, const LatentPages& pages, const bf16* rows, i64 ld, const std::int32_t* src, const std::int32_t* dst, i64 n) {
  if (n == 0) return;
  launch_early(s, write_latent_kernel, dim3(blocks_for(n * (kLatentWidth / 8), kThreads, "write_latent")), dim3(kThreads), 0, pages, rows, ld, src, dst,
               static_cast<u32>(n));
}

}  // namespace r1::gpu
