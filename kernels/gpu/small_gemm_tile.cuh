// The product of few rows on the tensor cores that small_gemm() and the experts' products share: weights and rows go to shared memory by
// asynchronous copies, each output is summed over k in ascending order in one accumulator. Private to kernels/gpu.
#pragma once

#include "kernels/gpu/attention_tile.cuh"
#include "kernels/gpu/common.cuh"
#include "kernels/gpu/small_gemm.h"

namespace r1::gpu {

// R rows of weights and T tokens a block; WR x WT warps share them. S stages of copies under way, each D of the summed index: a row of
// a stage is 128 or 256 bytes, whose 16-byte pieces are swizzled by the row's number so that eight neighbours' are in different banks.
template <int R_, int T_, int WR_, int WT_, int S_, int D_>
struct Tile {
  static constexpr int R = R_, T = T_, WR = WR_, WT = WT_, S = S_, D = D_;
  // Where few warps multiply, others copy: what a copy costs to issue would stand between two sums.
  static constexpr int kMath = WR * WT * 32, kCopiers = kMath <= 128 ? 128 : kMath, kThreads = kMath <= 128 ? kMath + kCopiers : kMath;
  static constexpr int kPieces = D / 8, kRowsAtOnce = kCopiers / kPieces;
  static constexpr int kCopiesW = R / kRowsAtOnce, kCopiesX = (T + kRowsAtOnce - 1) / kRowsAtOnce;
  static constexpr int kLine = D * 2, kStage = (R + T) * kLine, kShared = S * kStage;  // bytes
  static constexpr int kRowTiles = R / WR / 16, kTokenTiles = T / WT / 8;
  static_assert(R % (WR * 16) == 0 && T % (WT * 8) == 0 && R % kRowsAtOnce == 0 && kShared <= 227 * 1024);
  static_assert((kTokenTiles == 1 || kTokenTiles % 2 == 0) && (D == 64 || D == 128) && kRowsAtOnce % 8 == 0);
};

__device__ __forceinline__ void copy_piece(u32 to, const bf16* from, int bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(to), "l"(from), "r"(bytes));
}
__device__ __forceinline__ void load_fragments(u32 (&r)[4], u32 at) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at));
}

// One tile: rows [block_row, block_row + R) of w [n][ldw] times T tokens over a depth of k. What the tokens are, `rows` says:
//   x(t)       where the row of token t of the tile begins; null: it has none (zeros)
//   line(t)    where its results begin in y (and in c), in elements; below 0: nowhere
//   wait()     is called once weights have been asked for, before the first row is
template <class Tl, SmallOut O, class Rows>
__device__ __forceinline__ void product_tile(unsigned char* shared, const bf16* w, long long ldw, int n, int k, int block_row, const Rows& rows, void* y,
                                             const bf16* bias, const float* c) {
  const int thread = static_cast<int>(threadIdx.x), lane = thread & 31, warp = thread >> 5;
  const int steps = k / Tl::D;

  // What this thread copies of every stage: a piece of the rows first, first + kRowsAtOnce, ...
  const bool copies = thread >= Tl::kThreads - Tl::kCopiers, computes = thread < Tl::kMath;
  const int copier = copies ? thread - (Tl::kThreads - Tl::kCopiers) : 0, first = copier / Tl::kPieces, piece = copier % Tl::kPieces;
  const u32 base = smem_address(shared), to = static_cast<u32>(first * Tl::kLine + ((piece ^ (first & 7)) << 4));
  const bf16 *w_at[Tl::kCopiesW], *x_at[Tl::kCopiesX];
  int w_bytes[Tl::kCopiesW], x_bytes[Tl::kCopiesX];  // 16, or 0: zeros
#pragma unroll
  for (int j = 0; j < Tl::kCopiesW; ++j) {
    const int r = first + j * Tl::kRowsAtOnce;
    int row = block_row + r;
    bool exists = row < n;
    if constexpr (O == SmallOut::kSwiglu) {  // each 16 are eight of gate and the eight of up that belong to them: one thread gets both sums
      const int gate = block_row / 2 + (r >> 4) * 8 + (r & 7);
      exists = gate < n / 2;
      row = gate + ((r & 8) ? n / 2 : 0);
    }
    w_at[j] = w + static_cast<long long>(exists ? row : 0) * ldw + piece * 8;
    w_bytes[j] = exists ? 16 : 0;
  }
#pragma unroll
  for (int j = 0; j < Tl::kCopiesX; ++j) {
    const bf16* row = rows.x(first + j * Tl::kRowsAtOnce);
    x_at[j] = (row == nullptr ? w : row) + piece * 8;  // an address that exists; nothing is read there
    x_bytes[j] = row == nullptr ? 0 : 16;
  }
  const auto copy_w = [&](u32 stage) {
#pragma unroll
    for (int j = 0; j < Tl::kCopiesW; ++j) {
      copy_piece(base + stage + to + static_cast<u32>(j * Tl::kRowsAtOnce * Tl::kLine), w_at[j], w_bytes[j]);
      w_at[j] += Tl::D;
    }
  };
  const auto copy_x = [&](u32 stage) {
#pragma unroll
    for (int j = 0; j < Tl::kCopiesX; ++j) {
      if (Tl::T % Tl::kRowsAtOnce == 0 || first + j * Tl::kRowsAtOnce < Tl::T)
        copy_piece(base + stage + to + static_cast<u32>((Tl::R + j * Tl::kRowsAtOnce) * Tl::kLine), x_at[j], x_bytes[j]);
      x_at[j] += Tl::D;
    }
  };

#pragma unroll 1
  for (int step = 0; step < Tl::S - 1 && step < steps; ++step)
    if (copies) copy_w(static_cast<u32>(step * Tl::kStage));
  rows.wait();
#pragma unroll 1
  for (int step = 0; step < Tl::S - 1; ++step) {
    if (copies && step < steps) copy_x(static_cast<u32>(step * Tl::kStage));
    copy_commit();
  }

  const int warp_row = warp / Tl::WT * (Tl::R / Tl::WR), warp_token = warp % Tl::WT * (Tl::T / Tl::WT);
  // Where this lane's row of a fragment begins; part p of the depth lies at that address xor 32 p.
  const int a_row = warp_row + (lane & 15), a_piece = lane >> 4;
  const bool single = Tl::kTokenTiles == 1;  // one load serves two parts then, else two tiles
  const int b_row = warp_token + (lane & 7) + (single ? 0 : (lane >> 4) * 8), b_piece = single ? lane >> 3 : (lane >> 3) & 1;
  const u32 a_at = base + static_cast<u32>(a_row * Tl::kLine + ((a_piece ^ (a_row & 7)) << 4));
  const u32 b_at = base + static_cast<u32>((Tl::R + b_row) * Tl::kLine + ((b_piece ^ (b_row & 7)) << 4));
  float acc[Tl::kRowTiles][Tl::kTokenTiles][4] = {};
  constexpr int kParts = Tl::D / 16, kBLoads = single ? 1 : Tl::kTokenTiles / 2;
  // Few sums a warp: each would wait for its fragments, so those of a whole stage are loaded while the stage before is multiplied.
  constexpr bool kAhead = kParts * (Tl::kRowTiles + kBLoads) * 4 <= 96;  // registers
  constexpr int kHeld = kAhead ? kParts : 2;
  u32 fa[kHeld][Tl::kRowTiles][4], fb[kHeld][kBLoads][4];
  u32 stage = 0, fill = (Tl::S - 1) * Tl::kStage;
  const auto load = [&](int part) {
#pragma unroll
    for (int i = 0; i < Tl::kRowTiles; ++i) load_fragments(fa[part % kHeld][i], (a_at + stage + static_cast<u32>(i * 16 * Tl::kLine)) ^ static_cast<u32>(part * 32));
    if (single && part % 2 != 0) return;
#pragma unroll
    for (int j = 0; j < kBLoads; ++j)
      load_fragments(fb[single ? part / 2 % kHeld : part % kHeld][j], (b_at + stage + static_cast<u32>(j * 16 * Tl::kLine)) ^ static_cast<u32>(part * 32));
  };
  const auto multiply = [&](int part) {
    const auto& held = fb[single ? part / 2 % kHeld : part % kHeld];
#pragma unroll
    for (int i = 0; i < Tl::kRowTiles; ++i)
#pragma unroll
      for (int j = 0; j < Tl::kTokenTiles; ++j) {
        const int at = (single ? part % 2 : j % 2) * 2;
        mma(acc[i][j], fa[part % kHeld][i], held[j / 2][at], held[j / 2][at + 1]);
      }
  };
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    copy_wait<Tl::S - 2>();
    __syncthreads();
    if (copies && step + Tl::S - 1 < steps) copy_w(fill), copy_x(fill);
    copy_commit();
    fill = fill == (Tl::S - 1) * Tl::kStage ? 0 : fill + Tl::kStage;
    if (computes) {
      if constexpr (kAhead) {
        if (step > 0) {
#pragma unroll
          for (int part = 0; part < kParts; ++part) multiply(part);
        }
#pragma unroll
        for (int part = 0; part < kParts; ++part) load(part);
      } else {
        load(0);
#pragma unroll
        for (int part = 0; part < kParts; ++part) {
          if (part + 1 < kParts) load(part + 1);
          multiply(part);
        }
      }
    }
    stage = stage == (Tl::S - 1) * Tl::kStage ? 0 : stage + Tl::kStage;
  }
  if constexpr (kAhead) {
    if (computes) {
#pragma unroll
      for (int part = 0; part < kParts; ++part) multiply(part);
    }
  }
  copy_wait<0>();
  if (!computes) return;

  const int g = lane >> 2, t2 = (lane & 3) * 2;
#pragma unroll
  for (int i = 0; i < Tl::kRowTiles; ++i)
#pragma unroll
    for (int j = 0; j < Tl::kTokenTiles; ++j) {
      const float* v = acc[i][j];
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const long long line = rows.line(warp_token + j * 8 + t2 + e);
        if (line < 0) continue;
        if constexpr (O == SmallOut::kSwiglu) {
          const int column = (block_row + warp_row) / 2 + i * 8 + g;
          if (column >= n / 2) continue;
          const float gate = rounded(v[e]), up = rounded(v[e + 2]);
          static_cast<bf16*>(y)[line + column] = __bfloat16_as_ushort(__float2bfloat16_rn(__fmul_rn(__fmul_rn(gate, sigmoid(gate)), up)));
        } else {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const int row = block_row + warp_row + i * 16 + half * 8 + g;
            if (row >= n) continue;
            const float sum = v[half * 2 + e];
            if constexpr (O == SmallOut::kBf16) {
              static_cast<bf16*>(y)[line + row] = __bfloat16_as_ushort(__float2bfloat16_rn(bias == nullptr ? sum : __fadd_rn(sum, low(bias[row]))));
            } else {
              static_cast<float*>(y)[line + row] = c == nullptr ? sum : __fadd_rn(sum, c[line + row]);
            }
          }
        }
      }
    }
}

}  // namespace r1::gpu
