// The experts' products: a grid for the most tiles that there can be, of which those that are not there end at once.
#include "kernels/gpu/experts.h"
#include "kernels/gpu/small_gemm_tile.cuh"

namespace r1::gpu {
namespace {

constexpr int kThreads = 256;

// Rows of one tile: gathered by token for gate and up, by place for down, whose results go to their entries.
template <bool kDown>
struct ExpertRows {
  const bf16* rows;
  const std::int32_t* sorted;  // of the tile
  int place, count, chosen;
  long long ldx, ldy;
  __device__ __forceinline__ const bf16* x(int t) const {
    if (t >= count) return nullptr;
    return rows + (kDown ? place + t : sorted[t] / chosen) * ldx;
  }
  __device__ __forceinline__ long long line(int t) const { return t >= count ? -1 : (kDown ? sorted[t] : place + t) * ldy; }
  __device__ __forceinline__ void wait() const {}  // the kernel did: it had to know the expert
};

template <class Tl, bool kDown>
__global__ void __launch_bounds__(Tl::kThreads) expert_kernel(ExpertProduct p, const bf16* x, void* y) {
  extern __shared__ __align__(1024) unsigned char shared[];
  let_next_start();
  wait_for_previous();
  if (static_cast<int>(blockIdx.y) >= *p.count) return;
  const ExpertTile tile = p.tiles[blockIdx.y];
  const ExpertRows<kDown> rows{x, p.sorted + tile.first, tile.first, tile.count, static_cast<int>(p.chosen), p.k, kDown ? p.n : p.n / 2};
  product_tile<Tl, kDown ? SmallOut::kF32 : SmallOut::kSwiglu>(shared, p.w + tile.expert * p.stride, p.k, static_cast<int>(p.n), static_cast<int>(p.k),
                                                               static_cast<int>(blockIdx.x) * Tl::R, rows, y, nullptr, nullptr);
}

template <class Tl, bool kDown>
void launch(Stream s, const ExpertProduct& p, const bf16* x, void* y) {
  static const cudaError_t once = cudaFuncSetAttribute(expert_kernel<Tl, kDown>, cudaFuncAttributeMaxDynamicSharedMemorySize, Tl::kShared);
  check(once, "the experts' shared memory");
  launch_early(s, expert_kernel<Tl, kDown>, dim3(static_cast<unsigned>((p.n + Tl::R - 1) / Tl::R), static_cast<unsigned>(p.max_tiles)), dim3(Tl::kThreads),
               static_cast<std::size_t>(Tl::kShared), p, x, y);
}

template <bool kDown>
void product(Stream s, const ExpertProduct& p, const bf16* x, void* y) {
  R1_CHECK(p.k % 64 == 0 && p.n % 16 == 0 && p.stride % 8 == 0, "experts of ", p.n, " x ", p.k, ": the depth has to be a multiple of 64, the rows of 16");
  if (p.max_tiles == 0) return;
  switch (p.tokens) {
    case 8: return launch<Tile<64, 8, 4, 1, 8, 64>, kDown>(s, p, x, y);
    case 16: return launch<Tile<64, 16, 4, 1, 8, 64>, kDown>(s, p, x, y);
    case 32: return launch<Tile<64, 32, 4, 1, 6, 64>, kDown>(s, p, x, y);
    case 64: return launch<Tile<64, 64, 2, 2, 5, 64>, kDown>(s, p, x, y);
    case 128: return launch<Tile<128, 128, 4, 2, 4, 64>, kDown>(s, p, x, y);
  }
  throw DeviceError(message("no tile of ", p.tokens, " tokens"));
}

// Four columns of a row a thread.
__global__ void __launch_bounds__(kThreads) combine_kernel(const float* h_in, const float* __restrict__ out, const float* __restrict__ weights, u32 n,
                                                           u32 chosen, u32 d, const float* __restrict__ shared, const float* __restrict__ shared_weight,
                                                           float* h_out) {
  const u32 pieces = d / 4, item = blockIdx.x * kThreads + threadIdx.x, row = item / pieces;
  let_next_start();
  wait_for_previous();
  if (row >= n) return;
  const u32 column = (item - row * pieces) * 4;
  const i64 at = static_cast<i64>(row) * d + column;
  float4 sum = load4(h_in + at);
  const auto add = [&](float by, float4 v) {
    sum = make_float4(__fmaf_rn(by, v.x, sum.x), __fmaf_rn(by, v.y, sum.y), __fmaf_rn(by, v.z, sum.z), __fmaf_rn(by, v.w, sum.w));
  };
  for (u32 k = 0; k < chosen; ++k) add(weights[static_cast<i64>(row) * chosen + k], load4(out + (static_cast<i64>(row) * chosen + k) * d + column));
  if (shared != nullptr) add(shared_weight[row], load4(shared + at));
  store4(h_out + at, sum);
}

}  // namespace

i64 expert_tile_tokens(i64 entries, i64 experts) {
  // Loads are uneven: room for half as much again as the mean, so that an expert's weights are mostly read once.
  const i64 wanted = (entries * 3 / 2 + experts - 1) / experts;
  for (const i64 t : {8, 16, 32, 64})
    if (wanted <= t) return t;
  return 128;
}

void expert_gate_up(Stream s, const ExpertProduct& p, const bf16* x, bf16* act) { product<false>(s, p, x, act); }
void expert_down(Stream s, const ExpertProduct& p, const bf16* act, float* out) { product<true>(s, p, act, out); }

void combine_experts(Stream s, const float* h_in, const float* out, const float* weights, i64 n, i64 chosen, i64 d, const float* shared,
                     const float* shared_weight, float* h_out) {
  if (n == 0) return;
  check_width(d, 8, i64{1} << 20, "combine_experts");
  launch_early(s, combine_kernel, dim3(blocks_for(n * (d / 4), kThreads, "combine_experts")), dim3(kThreads), 0, h_in, out, weights, static_cast<u32>(n),
               static_cast<u32>(chosen), static_cast<u32>(d), shared, shared_weight, h_out);
}

}  // namespace r1::gpu
