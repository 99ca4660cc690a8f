// Private to kernels/gpu: one element's AdamW step.
#pragma once

#include <cmath>

#include "kernels/gpu/common.cuh"

namespace r1::gpu {

struct AdamWScalars {
  float scale, b1, nb1, b2, nb2, decay, step, root, eps;
};
inline AdamWScalars adamw_scalars(const AdamWArgs& a) {
  return {a.grad_scale, a.beta1, 1.f - a.beta1, a.beta2, 1.f - a.beta2, 1.f - a.lr * a.weight_decay, a.lr / a.bias1, 1.f / std::sqrt(a.bias2), a.eps};
}

// The sequence of cpu::adamw().
__device__ __forceinline__ void adamw_one(const AdamWScalars& a, float& p, float& m, float& v, float g) {
  const float grad = __fmul_rn(g, a.scale);
  m = __fmaf_rn(m, a.b1, __fmul_rn(grad, a.nb1));
  v = __fmaf_rn(v, a.b2, __fmul_rn(__fmul_rn(grad, grad), a.nb2));
  const float divisor = __fadd_rn(__fmul_rn(__fsqrt_rn(v), a.root), a.eps);
  p = __fsub_rn(__fmul_rn(p, a.decay), __fdiv_rn(__fmul_rn(a.step, m), divisor));
}

}  // namespace r1::gpu
