// A block does one tile of one pair; which pair is found by bisection over the tiles that come before each.
#include "core/spread.h"
#include "kernels/gpu/common.cuh"
#include "kernels/gpu/lora.h"

namespace r1::gpu {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int kRanks = 16;      // of the rank that are in registers at a time
constexpr int kMergeRows = 16;  // of a matrix; a thread has a column of them
constexpr int kBRows = 4;       // of dB in a block
constexpr int kStage = 64;      // rows of B that are in shared memory at a time

i64 pieces(i64 n, i64 size) { return (n + size - 1) / size; }

// The last slot whose tiles begin at or before `tile`.
template <i64 LoraSlot::*kFirst> __device__ __forceinline__ LoraSlot slot_of(const LoraWork& w, i64 tile) {
  i64 low = 0, high = w.count - 1;
  while (low < high) {
    const i64 middle = (low + high + 1) / 2;
    if (w.slots[middle].*kFirst <= tile) low = middle;
    else high = middle - 1;
  }
  return w.slots[low];
}
__device__ __forceinline__ float number(const float* p, i64 i) { return p[i]; }
__device__ __forceinline__ float number(const bf16* p, i64 i) { return low(p[i]); }

__global__ void __launch_bounds__(kThreads) merge_kernel(LoraWork w, const float* __restrict__ values, const float* __restrict__ mask,
                                                         const bf16* __restrict__ base, bf16* __restrict__ arena) {
  const LoraSlot p = slot_of<&LoraSlot::merge_tiles>(w, blockIdx.x);
  const i64 tile = blockIdx.x - p.merge_tiles, across = (p.in + kThreads - 1) / kThreads;
  const i64 first = tile / across * kMergeRows, i = tile % across * kThreads + threadIdx.x;
  const bool inside = i < p.in;
  const float factor = inside ? (mask != nullptr ? mask[p.column + i] : 1.f) : 0.f;
  __shared__ float b[kMergeRows][kRanks];
  float sum[kMergeRows] = {};
  for (i64 k0 = 0; k0 < w.rank; k0 += kRanks) {
    const i64 row = first + threadIdx.x / kRanks, k = k0 + threadIdx.x % kRanks;
    __syncthreads();
    b[threadIdx.x / kRanks][threadIdx.x % kRanks] = row < p.out && k < w.rank ? __fmul_rn(w.scale, values[p.b + row * w.rank + k]) : 0.f;
    __syncthreads();
#pragma unroll
    for (int j = 0; j < kRanks; ++j) {
      const float a = inside && k0 + j < w.rank ? __fmul_rn(values[p.a + (k0 + j) * p.in + i], factor) : 0.f;
#pragma unroll
      for (int r = 0; r < kMergeRows; ++r) sum[r] = __fmaf_rn(b[r][j], a, sum[r]);
    }
  }
  if (!inside) return;
#pragma unroll
  for (int r = 0; r < kMergeRows; ++r) {
    if (first + r >= p.out) return;
    const i64 at = (first + r) * p.in + i;
    const u32 bits = spread_in_cell(u32{base[p.base + at]} << 16, static_cast<std::uint64_t>(p.weight + at));
    arena[p.weight + at] = __bfloat16_as_ushort(__float2bfloat16_rn(__fadd_rn(__uint_as_float(bits), sum[r])));
  }
}
static_assert(kMergeRows * kRanks == kThreads);

// dB: a block has kBRows rows, a thread every 256th input.
template <class Gradient>
__global__ void __launch_bounds__(kThreads) project_b_kernel(LoraWork w, const float* __restrict__ values, const float* __restrict__ mask,
                                                             const Gradient* __restrict__ dw, float* __restrict__ out) {
  const LoraSlot p = slot_of<&LoraSlot::b_tiles>(w, blockIdx.x);
  const i64 first = (blockIdx.x - p.b_tiles) * kBRows;
  __shared__ float partial[kWarps][kBRows * kRanks];
  for (i64 k0 = 0; k0 < w.rank; k0 += kRanks) {
    float sum[kBRows][kRanks] = {};
    for (i64 i = threadIdx.x; i < p.in; i += kThreads) {
      const float factor = mask != nullptr ? mask[p.column + i] : 1.f;
      float d[kBRows];
#pragma unroll
      for (int r = 0; r < kBRows; ++r) d[r] = first + r < p.out ? __fmul_rn(number(dw, p.weight + (first + r) * p.in + i), factor) : 0.f;
#pragma unroll
      for (int j = 0; j < kRanks; ++j) {
        const float a = k0 + j < w.rank ? values[p.a + (k0 + j) * p.in + i] : 0.f;
#pragma unroll
        for (int r = 0; r < kBRows; ++r) sum[r][j] = __fmaf_rn(d[r], a, sum[r][j]);
      }
    }
    __syncthreads();
#pragma unroll
    for (int r = 0; r < kBRows; ++r)
#pragma unroll
      for (int j = 0; j < kRanks; ++j) {
        const float of_warp = lane_sum<32>(sum[r][j]);
        if ((threadIdx.x & 31) == 0) partial[threadIdx.x >> 5][r * kRanks + j] = of_warp;
      }
    __syncthreads();
    const i64 row = first + threadIdx.x / kRanks, k = k0 + threadIdx.x % kRanks;
    if (threadIdx.x < kBRows * kRanks && row < p.out && k < w.rank) {
      float total = 0.f;
#pragma unroll
      for (int v = 0; v < kWarps; ++v) total = __fadd_rn(total, partial[v][threadIdx.x]);
      float& to = out[p.b + row * w.rank + k];
      to = __fmaf_rn(w.scale, total, to);
    }
  }
}

// dA: a thread has one input and goes down the matrix.
template <class Gradient>
__global__ void __launch_bounds__(kThreads) project_a_kernel(LoraWork w, const float* __restrict__ values, const float* __restrict__ mask,
                                                             const Gradient* __restrict__ dw, float* __restrict__ out) {
  const LoraSlot p = slot_of<&LoraSlot::a_tiles>(w, blockIdx.x);
  const i64 i = (blockIdx.x - p.a_tiles) * kThreads + threadIdx.x;
  const bool inside = i < p.in;
  __shared__ float b[kStage][kRanks];
  for (i64 k0 = 0; k0 < w.rank; k0 += kRanks) {
    float sum[kRanks] = {};
    for (i64 first = 0; first < p.out; first += kStage) {
      __syncthreads();
      for (int t = threadIdx.x; t < kStage * kRanks; t += kThreads) {
        const i64 row = first + t / kRanks, k = k0 + t % kRanks;
        b[t / kRanks][t % kRanks] = row < p.out && k < w.rank ? values[p.b + row * w.rank + k] : 0.f;
      }
      __syncthreads();
      const int rows = static_cast<int>(p.out - first < kStage ? p.out - first : kStage);
      if (inside) {
#pragma unroll 8
        for (int r = 0; r < rows; ++r) {
          const float d = number(dw, p.weight + (first + r) * p.in + i);
#pragma unroll
          for (int j = 0; j < kRanks; ++j) sum[j] = __fmaf_rn(b[r][j], d, sum[j]);
        }
      }
    }
    if (!inside) continue;
    const float factor = __fmul_rn(w.scale, mask != nullptr ? mask[p.column + i] : 1.f);
#pragma unroll
    for (int j = 0; j < kRanks; ++j)
      if (k0 + j < w.rank) {
        float& to = out[p.a + (k0 + j) * p.in + i];
        to = __fmaf_rn(factor, sum[j], to);
      }
  }
}

template <class Gradient> void project(Stream s, const LoraWork& w, const float* values, const float* mask, const Gradient* dw, float* gradient) {
  if (w.count == 0) return;
  project_b_kernel<<<blocks_for(w.b_tiles, 1, "lora_project"), kThreads, 0, s>>>(w, values, mask, dw, gradient);
  check_launch("lora_project");
  project_a_kernel<<<blocks_for(w.a_tiles, 1, "lora_project"), kThreads, 0, s>>>(w, values, mask, dw, gradient);
  check_launch("lora_project");
}

}  // namespace

LoraWork lay_out_tiles(LoraSlot* slots, i64 count, i64 rank, float scale) {
  LoraWork w;
  w.count = count, w.rank = rank, w.scale = scale;
  for (i64 i = 0; i < count; ++i) {
    LoraSlot& p = slots[i];
    p.merge_tiles = w.merge_tiles, p.b_tiles = w.b_tiles, p.a_tiles = w.a_tiles;
    w.merge_tiles += pieces(p.out, kMergeRows) * pieces(p.in, kThreads);
    w.b_tiles += pieces(p.out, kBRows);
    w.a_tiles += pieces(p.in, kThreads);
  }
  return w;
}

void lora_merge(Stream s, const LoraWork& w, const float* values, const float* mask, const bf16* base, bf16* arena) {
  if (w.count == 0) return;
  merge_kernel<<<blocks_for(w.merge_tiles, 1, "lora_merge"), kThreads, 0, s>>>(w, values, mask, base, arena);
  check_launch("lora_merge");
}
void lora_project(Stream s, const LoraWork& w, const float* values, const float* mask, const float* dw, float* gradient) {
  project(s, w, values, mask, dw, gradient);
}
void lora_project(Stream s, const LoraWork& w, const float* values, const float* mask, const bf16* dw, float* gradient) {
  project(s, w, values, mask, dw, gradient);
}

}  // namespace r1::gpu
