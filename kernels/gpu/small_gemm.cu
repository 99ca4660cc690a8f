#include "kernels/gpu/small_gemm.h"

#include <array>

#include "kernels/gpu/small_gemm_tile.cuh"

namespace r1::gpu {
namespace {

struct DenseRows {
  const bf16* first;
  long long ldx, ldy;
  int token, m;  // of the tile's first
  __device__ __forceinline__ const bf16* x(int t) const { return token + t < m ? first + static_cast<long long>(token + t) * ldx : nullptr; }
  __device__ __forceinline__ long long line(int t) const { return token + t < m ? static_cast<long long>(token + t) * ldy : -1; }
  __device__ __forceinline__ void wait() const { wait_for_previous(); }  // weights are nobody's output; the rest is
};

template <class Tl, SmallOut O>
__global__ void __launch_bounds__(Tl::kThreads) small_gemm_kernel(SmallGemm a) {
  extern __shared__ __align__(1024) unsigned char shared[];
  let_next_start();
  const DenseRows rows{a.x, a.ldx, a.ldy, static_cast<int>(blockIdx.y) * Tl::T, static_cast<int>(a.m)};
  product_tile<Tl, O>(shared, a.w, a.ldw, static_cast<int>(a.n), static_cast<int>(a.k), static_cast<int>(blockIdx.x) * Tl::R, rows, a.y, a.bias, a.c);
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
