// Private to kernels/gpu: the arithmetic of RMSNorm that every kernel with one shares.
#pragma once

#include "kernels/gpu/common.cuh"

namespace r1::gpu {

// y = w * bf16(x * rstd): the cast comes before the product with w, as HF does.
__device__ __forceinline__ float normed(float x, float rstd, float w) { return __fmul_rn(rounded(__fmul_rn(x, rstd)), w); }
__device__ __forceinline__ float4 normed(float4 x, float rstd, float4 w) {
  return make_float4(normed(x.x, rstd, w.x), normed(x.y, rstd, w.y), normed(x.z, rstd, w.z), normed(x.w, rstd, w.w));
}
__device__ __forceinline__ float rms_inverse(float sum, float width, float eps) {
  return __frcp_rn(__fsqrt_rn(__fadd_rn(__fdiv_rn(sum, width), eps)));
}

}  // namespace r1::gpu
