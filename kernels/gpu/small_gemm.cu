#include "kernels/gpu/small_gemm.h"

#include <array>

#include "kernels/gpu/attention_tile.cuh"
#include "kernels/gpu/common.cuh"

namespace r1::gpu {
namespace {

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

template <class Tl, SmallOut O>
__global__ void __launch_bounds__(Tl::kThreads) small_gemm_kernel(SmallGemm a) {
  extern __shared__ __align__(1024) unsigned char shared[];
  const int thread = static_cast<int>(threadIdx.x), lane = thread & 31, warp = thread >> 5;
  const int block_row = static_cast<int>(blockIdx.x) * Tl::R, block_token = static_cast<int>(blockIdx.y) * Tl::T;
  const int n = static_cast<int>(a.n), m = static_cast<int>(a.m), steps = static_cast<int>(a.k) / Tl::D;

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
    w_at[j] = a.w + static_cast<long long>(exists ? row : 0) * a.ldw + piece * 8;
    w_bytes[j] = exists ? 16 : 0;
  }
#pragma unroll
  for (int j = 0; j < Tl::kCopiesX; ++j) {
    const int token = block_token + first + j * Tl::kRowsAtOnce;
    x_at[j] = a.x + static_cast<long long>(token < m ? token : 0) * a.ldx + piece * 8;
    x_bytes[j] = token < m ? 16 : 0;
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

  let_next_start();
#pragma unroll 1
  for (int step = 0; step < Tl::S - 1 && step < steps; ++step)
    if (copies) copy_w(static_cast<u32>(step * Tl::kStage));
  wait_for_previous();  // weights are nobody's output; the rest is
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
        const int token = block_token + warp_token + j * 8 + t2 + e;
        if (token >= m) continue;
        const long long line = static_cast<long long>(token) * a.ldy;
        if constexpr (O == SmallOut::kSwiglu) {
          const int column = (block_row + warp_row) / 2 + i * 8 + g;
          if (column >= n / 2) continue;
          const float gate = rounded(v[e]), up = rounded(v[e + 2]);
          static_cast<bf16*>(a.y)[line + column] = __bfloat16_as_ushort(__float2bfloat16_rn(__fmul_rn(__fmul_rn(gate, sigmoid(gate)), up)));
        } else {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const int row = block_row + warp_row + i * 16 + half * 8 + g;
            if (row >= n) continue;
            const float sum = v[half * 2 + e];
            if constexpr (O == SmallOut::kBf16) {
              static_cast<bf16*>(a.y)[line + row] = __bfloat16_as_ushort(__float2bfloat16_rn(a.bias == nullptr ? sum : __fadd_rn(sum, low(a.bias[row]))));
            } else {
              static_cast<float*>(a.y)[line + row] = a.c == nullptr ? sum : __fadd_rn(sum, a.c[line + row]);
            }
          }
        }
      }
    }
}

template <class Tl, SmallOut O>
void launch(Stream s, const SmallGemm& p) {
  static const cudaError_t once = cudaFuncSetAttribute(small_gemm_kernel<Tl, O>, cudaFuncAttributeMaxDynamicSharedMemorySize, Tl::kShared);
  check(once, "small_gemm's shared memory");
  launch_early(s, small_gemm_kernel<Tl, O>, dim3(static_cast<unsigned>((p.n + Tl::R - 1) / Tl::R), static_cast<unsigned>((p.m + Tl::T - 1) / Tl::T)),
               dim3(Tl::kThreads), static_cast<std::size_t>(Tl::kShared), p);
}

struct Entry {
  int rows, tokens, depth;
  void (*launch[3])(Stream, const SmallGemm&);
};
template <class Tl> constexpr Entry entry() {
  return {Tl::R, Tl::T, Tl::D, {launch<Tl, SmallOut::kBf16>, launch<Tl, SmallOut::kF32>, launch<Tl, SmallOut::kSwiglu>}};
}
constexpr std::array kTiles = {
    entry<Tile<16, 8, 1, 1, 8, 128>>(), entry<Tile<32, 8, 2, 1, 6, 128>>(), entry<Tile<64, 8, 4, 1, 4, 128>>(), entry<Tile<16, 8, 1, 1, 16, 64>>(),
    entry<Tile<16, 16, 1, 2, 6, 128>>(), entry<Tile<64, 16, 4, 1, 4, 128>>(), entry<Tile<16, 32, 1, 4, 5, 128>>(), entry<Tile<32, 32, 2, 2, 4, 128>>(),
    entry<Tile<64, 32, 4, 1, 4, 128>>(), entry<Tile<16, 64, 1, 4, 4, 128>>(), entry<Tile<32, 64, 2, 2, 4, 128>>(), entry<Tile<64, 64, 2, 2, 3, 128>>(),
    entry<Tile<64, 64, 4, 2, 6, 64>>(), entry<Tile<64, 128, 2, 4, 4, 64>>(), entry<Tile<128, 64, 4, 2, 4, 64>>(), entry<Tile<128, 128, 4, 2, 4, 64>>(),
    entry<Tile<64, 64, 2, 2, 5, 64>>(),
};

}  // namespace

int small_gemm_tiles() { return static_cast<int>(kTiles.size()); }

bool small_gemm_fits(const SmallGemm& p, int tile) {
  const Entry& e = kTiles[static_cast<std::size_t>(tile)];
  // A tile of more than twice the tokens would multiply zeros; one of half the tokens reads the weights again.
  const bool suits = e.tokens < 2 * p.m || e.tokens == 8;
  return suits && p.m > 0 && p.m <= kSmallRows && p.m <= 16 * e.tokens && p.k % e.depth == 0 && p.ldx % 8 == 0 && p.ldw % 8 == 0 &&
         (p.out != SmallOut::kSwiglu || p.n % 16 == 0);
}

void small_gemm(Stream s, const SmallGemm& p, int tile) {
  R1_CHECK(small_gemm_fits(p, tile), "tile ", tile, " for a product of ", p.m, " x ", p.n, " x ", p.k);
  kTiles[static_cast<std::size_t>(tile)].launch[static_cast<int>(p.out)](s, p);
}

}  // namespace r1::gpu
