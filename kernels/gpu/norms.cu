#include "kernels/gpu/norms.h"

#include "kernels/gpu/norm.cuh"

namespace r1::gpu {
namespace {

constexpr int kThreads = 128;

__global__ void __launch_bounds__(kThreads) norm_part_kernel(const bf16* x, i64 ldx, u32 d, const bf16* w, float eps,
                                                             bf16* y, i64 ldy) {
  __shared__ float shared[32];
  let_next_start();
  wait_for_previous();
  const bf16* row = x + static_cast<i64>(blockIdx.x) * ldx;
  float sum = 0.f, v[8], gain[8];
  for (u32 i = threadIdx.x * 8; i < d; i += kThreads * 8) {
    load8(row + i, v);
#pragma unroll
    for (int j = 0; j < 8; ++j) sum = __fmaf_rn(v[j], v[j], sum);
  }
  const float rstd = rms_inverse(row_sum(sum, shared), static_cast<float>(d), eps);
  for (u32 i = threadIdx.x * 8; i < d; i += kThreads * 8) {
    load8(row + i, v), load8(w + i, gain);
#pragma unroll
    for (int j = 0; j < 8; ++j) v[j] = normed(v[j], rstd, gain[j]);
    store8(y + static_cast<i64>(blockIdx.x) * ldy + i, v);
  }
}

__global__ void __launch_bounds__(kThreads) add_norm_kernel(const float* h_in, const float* __restrict__ x, u32 d, const bf16* __restrict__ w, float eps,
                                                            float* h_out) {
  __shared__ float shared[32];
  let_next_start();
  wait_for_previous();
  const i64 row = static_cast<i64>(blockIdx.x) * d;
  float sum = 0.f;
  for (u32 i = threadIdx.x * 4; i < d; i += kThreads * 4) {
    const float4 v = load4(x + row + i);
    sum = __fmaf_rn(v.w, v.w, __fmaf_rn(v.z, v.z, __fmaf_rn(v.y, v.y, __fmaf_rn(v.x, v.x, sum))));
  }
  const float rstd = rms_inverse(row_sum(sum, shared), static_cast<float>(d), eps);
  for (u32 i = threadIdx.x * 4; i < d; i += kThreads * 4) {
    const float4 v = normed(load4(x + row + i), rstd, load4(w + i));
    store4(h_out + row + i, plus(load4(h_in + row + i), make_float4(rounded(v.x), rounded(v.y), rounded(v.z), rounded(v.w))));
  }
}

}  // namespace

void rms_norm_part(Stream s, const bf16* x, i64 ldx, i64 n, i64 d, const bf16* w, float eps, bf16* y, i64 ldy) {
  if (n == 0) return;
  check_width(d, 8, i64{1} << 16, "rms_norm_part");
  launch_early(s, norm_part_kernel, dim3(blocks_for(n, 1, "rms_norm_part")), dim3(kThreads), 0, x, ldx, static_cast<u32>(d), w, eps, y, ldy);
}

void add_rms_norm(Stream s, const float* h_in, const float* x, i64 n, i64 d, const bf16* w, float eps, float* h_out) {
  if (n == 0) return;
  check_width(d, 8, i64{1} << 16, "add_rms_norm");
  launch_early(s, add_norm_kernel, dim3(blocks_for(n, 1, "add_rms_norm")), dim3(kThreads), 0, h_in, x, static_cast<u32>(d), w, eps, h_out);
}

}  // namespace r1::gpu
