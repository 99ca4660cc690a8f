// A scalar for a row: its product with a head, and the gradients of both.
#include "kernels/gpu/scalar_head.h"

#include "kernels/gpu/common.cuh"

namespace r1::gpu {
namespace {

constexpr int kThreads = 256, kRows = kThreads / 32;

// A warp a row; the sum in float64, as the CPU's.
__global__ void __launch_bounds__(kThreads) scalar_head_kernel(const bf16* __restrict__ x, const float* __restrict__ w, float bias, u32 n, u32 d,
                                                               float* __restrict__ out) {
  const u32 row = blockIdx.x * kRows + (threadIdx.x >> 5), lane = threadIdx.x & 31;
  if (row >= n) return;
  double sum = 0;
  for (u32 j = lane * 8; j < d; j += 32 * 8) {
    float a[8], b[8];
    load8(x + static_cast<i64>(row) * d + j, a), load8(w + j, b);
#pragma unroll
    for (int i = 0; i < 8; ++i) sum = __fma_rn(static_cast<double>(a[i]), static_cast<double>(b[i]), sum);
  }
#pragma unroll
  for (int step = 16; step > 0; step /= 2) sum = __dadd_rn(sum, __shfl_xor_sync(0xffffffffu, sum, step));
  if (lane == 0) out[row] = static_cast<float>(__dadd_rn(sum, static_cast<double>(bias)));
}

// A slice of rows and eight columns a thread.
__global__ void __launch_bounds__(kThreads) scalar_head_backward_kernel(const bf16* __restrict__ x, const float* __restrict__ w, const float* __restrict__ c,
                                                                        u32 n, u32 d, u32 slice_rows, bf16* __restrict__ d_x, float* __restrict__ partials) {
  const u32 column = (blockIdx.x * kThreads + threadIdx.x) * 8, begin = blockIdx.y * slice_rows, end = min(begin + slice_rows, n);
  if (column >= d) return;
  float head[8], sum[8] = {};
  load8(w + column, head);
#pragma unroll 2
  for (u32 row = begin; row < end; ++row) {
    const i64 at = static_cast<i64>(row) * d + column;
    float v[8], out[8];
    load8(x + at, v);
    const float slope = c[row];
#pragma unroll
    for (int i = 0; i < 8; ++i) sum[i] = __fmaf_rn(slope, v[i], sum[i]), out[i] = __fmul_rn(slope, head[i]);
    store8(d_x + at, out);
  }
  float* to = partials + static_cast<i64>(blockIdx.y) * d + column;
  store4(to, make_float4(sum[0], sum[1], sum[2], sum[3]));
  store4(to + 4, make_float4(sum[4], sum[5], sum[6], sum[7]));
}

}  // namespace

void scalar_head(Stream s, const bf16* x, const float* w, float bias, i64 n, i64 d, float* out) {
  if (n == 0) return;
  check_width(d, 8, i64{1} << 20, "scalar_head");
  scalar_head_kernel<<<blocks_for(n, kRows, "scalar_head"), kThreads, 0, s>>>(x, w, bias, static_cast<u32>(n), static_cast<u32>(d), out);
  check_launch("scalar_head");
}

void scalar_head_backward(Stream s, const bf16* x, const float* w, const float* c, i64 n, i64 d, bf16* d_x, float* dw, void* scratch) {
  if (n == 0) return;
  check_width(d, 8, i64{1} << 20, "scalar_head_backward");
  const Slices slices = slices_of(n, kMaxSlices);
  auto* partials = static_cast<float*>(scratch);
  const dim3 grid(blocks_for(d / 8, kThreads, "scalar_head_backward"), static_cast<unsigned>(slices.count));
  scalar_head_backward_kernel<<<grid, kThreads, 0, s>>>(x, w, c, static_cast<u32>(n), static_cast<u32>(d), static_cast<u32>(slices.rows), d_x, partials);
  check_launch("scalar_head_backward");
  add_partials(s, partials, d, slices.count, d, dw);
}

}  // namespace r1::gpu
