#include "kernels/gpu/skinny.h"

#include <algorithm>

#include "kernels/gpu/attention_tile.cuh"
#include "kernels/gpu/common.cuh"

namespace r1::gpu {
namespace {

constexpr int kThreads = 256, kWarps = 8, kRows = 16, kTokens = static_cast<int>(kSkinnyRows);
static_assert(kTokens == 8, "one tile of the tensor cores");
constexpr int kAhead = 4;  // steps of weights under way a warp
constexpr int kMaxSplits = 8;

struct DeviceArgs {
  const bf16* x;
  const float* h;
  const bf16* norm;
  const bf16* w;
  const bf16* bias;
  void* y;
  float* partials;
  std::int32_t* counters;
  int m, n, k, ldy, splits;
  float eps;
  SkinnyOut out;
};

// Eight rows of x, missing ones zeros, and 16 weight rows a block; its warps share the summed index.
__global__ void __launch_bounds__(kThreads) skinny_kernel(DeviceArgs a) {
  extern __shared__ __align__(128) unsigned char shared[];
  const int thread = static_cast<int>(threadIdx.x), lane = thread & 31, warp = thread >> 5;
  const int g = lane >> 2, t = lane & 3;
  const int steps = a.k / 32, first = static_cast<int>(blockIdx.y) * steps / a.splits, last = (static_cast<int>(blockIdx.y) + 1) * steps / a.splits;
  const int ld = (last - first) * 32 + 8;  // padded: eight rows' pieces lie in different banks

  // Weight rows of this lane: g and g + 8; with swiglu the upper eight are of `up`.
  const bool paired = a.out == SkinnyOut::kSwiglu;
  const int block_row = static_cast<int>(blockIdx.x) * kRows;
  const long long row0 = paired ? block_row / 2 + g : block_row + g, row1 = paired ? a.n / 2 + block_row / 2 + g : block_row + g + 8;
  const bf16* w0 = a.w + row0 * a.k + t * 8;
  const bf16* w1 = a.w + row1 * a.k + t * 8;
  uint4 wa[kAhead], wb[kAhead];
  const auto fetch = [&](int j, int step) {
    if (step >= last) return;
    wa[j] = __ldcs(reinterpret_cast<const uint4*>(w0 + step * 32));
    wb[j] = __ldcs(reinterpret_cast<const uint4*>(w1 + step * 32));
  };
  let_next_start();
#pragma unroll
  for (int j = 0; j < kAhead; ++j) fetch(j, first + warp + j * kWarps);
  wait_for_previous();  // weights are nobody's output; the rest is

  bf16* const x = reinterpret_cast<bf16*>(shared);
  if (a.x != nullptr) {
    const int pieces = (last - first) * 4;
    for (int i = thread; i < kTokens * pieces; i += kThreads) {
      const int token = i / pieces, piece = i % pieces;
      uint4 v = make_uint4(0, 0, 0, 0);
      if (token < a.m) v = *reinterpret_cast<const uint4*>(a.x + static_cast<long long>(token) * a.k + first * 32 + piece * 8);
      *reinterpret_cast<uint4*>(x + token * ld + piece * 8) = v;
    }
  } else {
    // A warp a row: its norm over all of it, its part of this block into shared memory.
    for (int token = warp; token < kTokens; token += kWarps) {
      float inverse = 0.f;
      const float* h = a.h + static_cast<long long>(token) * a.k;
      if (token < a.m) {
        float sum = 0.f;
        for (int i = lane * 4; i < a.k; i += 128) {
          const float4 v = *reinterpret_cast<const float4*>(h + i);
          sum = fmaf(v.x, v.x, fmaf(v.y, v.y, fmaf(v.z, v.z, fmaf(v.w, v.w, sum))));
        }
        inverse = rsqrtf(lane_sum<32>(sum) / static_cast<float>(a.k) + a.eps);
      }
      for (int i = first * 32 + lane * 4; i < last * 32; i += 128) {
        float4 v = make_float4(0.f, 0.f, 0.f, 0.f);
        if (token < a.m) {
          v = *reinterpret_cast<const float4*>(h + i);
          const float4 w = load4(a.norm + i);
          v = make_float4(rounded(v.x * inverse) * w.x, rounded(v.y * inverse) * w.y, rounded(v.z * inverse) * w.z, rounded(v.w * inverse) * w.w);
        }
        store4(x + token * ld + i - first * 32, v);
      }
    }
  }
  __syncthreads();

  float acc[4] = {0.f, 0.f, 0.f, 0.f};
  for (int step = first + warp; step < last; step += kAhead * kWarps) {
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      const int now = step + j * kWarps;
      if (now >= last) break;
      const std::uint32_t low_a[4] = {wa[j].x, wb[j].x, wa[j].y, wb[j].y}, high_a[4] = {wa[j].z, wb[j].z, wa[j].w, wb[j].w};
      fetch(j, now + kAhead * kWarps);
      const uint4 v = *reinterpret_cast<const uint4*>(x + g * ld + (now - first) * 32 + t * 8);
      mma(acc, low_a, v.x, v.y);
      mma(acc, high_a, v.z, v.w);
    }
  }
  __syncthreads();

  // Sum of the warps' shares, in order; [kRows][kTokens] floats each.
  float* const sums = reinterpret_cast<float*>(shared);
#pragma unroll
  for (int e = 0; e < 4; ++e) sums[(warp * kRows + g + (e >> 1) * 8) * kTokens + t * 2 + (e & 1)] = acc[e];
  __syncthreads();
  for (int i = thread; i < kRows * kTokens; i += kThreads) {
    float total = sums[i];
#pragma unroll
    for (int s = 1; s < kWarps; ++s) total += sums[s * kRows * kTokens + i];
    sums[i] = total;
    if (a.splits > 1) __stcg(a.partials + (static_cast<long long>(blockIdx.y) * gridDim.x + blockIdx.x) * kRows * kTokens + i, total);
  }
  if (a.splits > 1) {
    __shared__ int before;
    __threadfence();
    __syncthreads();
    if (thread == 0) before = atomicAdd(a.counters + blockIdx.x, 1);
    __syncthreads();
    if (before != a.splits - 1) return;
    __threadfence();
    for (int i = thread; i < kRows * kTokens; i += kThreads) {
      float total = 0.f;
      for (int s = 0; s < a.splits; ++s) total += __ldcg(a.partials + (static_cast<long long>(s) * gridDim.x + blockIdx.x) * kRows * kTokens + i);
      sums[i] = total;
    }
    if (thread == 0) a.counters[blockIdx.x] = 0;
  }
  __syncthreads();

  if (paired) {
    for (int i = thread; i < kRows / 2 * kTokens; i += kThreads) {
      const int token = i / (kRows / 2), r = i % (kRows / 2);
      const int column = static_cast<int>(blockIdx.x) * kRows / 2 + r;
      if (token >= a.m || column >= a.n / 2) continue;
      const float gate = rounded(sums[r * kTokens + token]), up = rounded(sums[(r + 8) * kTokens + token]);
      static_cast<bf16*>(a.y)[static_cast<long long>(token) * a.ldy + column] = __bfloat16_as_ushort(__float2bfloat16_rn(gate * sigmoid(gate) * up));
    }
    return;
  }
  for (int i = thread; i < kRows * kTokens; i += kThreads) {
    const int token = i / kRows, r = i % kRows, column = static_cast<int>(blockIdx.x) * kRows + r;
    if (token >= a.m || column >= a.n) continue;
    const float v = sums[r * kTokens + token];
    const long long at = static_cast<long long>(token) * a.ldy + column;
    if (a.out == SkinnyOut::kBias)
      static_cast<bf16*>(a.y)[at] = __bfloat16_as_ushort(__float2bfloat16_rn(a.bias == nullptr ? v : v + low(a.bias[column])));
    else if (a.out == SkinnyOut::kAdd) static_cast<float*>(a.y)[at] += v;
    else static_cast<float*>(a.y)[at] = v;
  }
}

void launch(Stream s, DeviceArgs a) {
  const int blocks = (a.n + kRows - 1) / kRows, steps = a.k / 32;
  // Splits cost a round of partial results through memory: only where blocks are few and the sum is long, or x's part too large.
  int splits = blocks < 132 && steps >= 64 ? std::min(4, (264 + blocks - 1) / blocks) : 1;
  while (kTokens * ((steps + splits - 1) / splits * 32 + 8) * 2 > 100 * 1024) ++splits;
  a.splits = splits;
  const int x_bytes = kTokens * ((steps + splits - 1) / splits * 32 + 8) * 2, sum_bytes = kWarps * kRows * kTokens * 4;
  static const cudaError_t once = cudaFuncSetAttribute(skinny_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 110 * 1024);
  (void)once;
  launch_early(s, skinny_kernel, dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(splits)), dim3(kThreads),
               static_cast<std::size_t>(std::max(x_bytes, sum_bytes)), a);
}

}  // namespace

bool skinny_supports(i64 n, i64 k) { return n % 16 == 0 && k % 32 == 0 && n / 16 * 16 * k < (i64{1} << 40); }
std::size_t skinny_partial_bytes(i64 max_n) { return static_cast<std::size_t>(kMaxSplits * (max_n + 64) * kSkinnyRows) * sizeof(float); }
std::size_t skinny_counter_bytes(i64 max_n) { return static_cast<std::size_t>(max_n / 16 + 1) * sizeof(std::int32_t); }

void skinny_product(Stream s, const SkinnyArgs& p, float* partials, std::int32_t* counters) {
  if (p.m == 0) return;
  R1_CHECK(p.m <= kSkinnyRows && skinny_supports(p.n, p.k), "a product of ", p.m, " x ", p.n, " x ", p.k);
  const DeviceArgs a{p.x, p.h, p.norm, p.w, p.bias, p.y, partials, counters, static_cast<int>(p.m), static_cast<int>(p.n), static_cast<int>(p.k),
                     static_cast<int>(p.ldy), 1, p.eps, p.out};
  launch(s, a);
  check_launch("skinny_product");
}

}  // namespace r1::gpu
