// Private to kernels/: AdamW, sums of squares, and the search for numbers that are not finite.
#pragma once

#include "kernels/isa/rows.h"
#include "kernels/isa/vocab.h"

namespace r1::cpu::R1_ISA {

inline void adamw(float* p, float* m, float* v, const float* g, bf16* live, i64 n, const AdamWArgs& a) {
  const vf scale = splat(a.grad_scale), b1 = splat(a.beta1), nb1 = splat(1.f - a.beta1), b2 = splat(a.beta2),
           nb2 = splat(1.f - a.beta2), decay = splat(1.f - a.lr * a.weight_decay), step = splat(a.lr / a.bias1),
           root = splat(1.f / __builtin_sqrtf(a.bias2)), eps = splat(a.eps);
  for (i64 i = 0; i < n; i += W) {
    const i64 left = n - i;
    const vf grad = load_upto(g + i, left) * scale;
    const vf mean = fma(load_upto(m + i, left), b1, grad * nb1);
    const vf square = fma(load_upto(v + i, left), b2, grad * grad * nb2);
    const vf next = load_upto(p + i, left) * decay - step * mean / (sqrt(square) * root + eps);
    store_upto(m + i, mean, left);
    store_upto(v + i, square, left);
    store_upto(p + i, next, left);
    if (live == nullptr) continue;
    if (left >= W) store_exact(live + i, next);
    else to_bf16_range(p + i, live + i, left);
  }
}

inline double sum_of_squares(const float* x, i64 n) {
  double s[4 * W];
  for (double& v : s) v = 0.0;
  // Squares of float32 are exact in float64; 4 * W chains.
  i64 i = 0;
  for (; i + 4 * W <= n; i += 4 * W)
    for (int j = 0; j < 4 * W; ++j) {
      const double d = x[i + j];
      s[j] += d * d;
    }
  for (; i < n; ++i) {
    const double d = x[i];
    s[0] += d * d;
  }
  double total = 0.0;
  for (double v : s) total += v;
  return total;
}

inline i64 first_non_finite(const float* x, i64 n) {
  const vu exponent = splat_u(0x7f800000u);
  i64 i = 0;
  for (; i + W <= n; i += W)
    if (any_lane((vi)((load_bits<vu>(x + i) & exponent) == exponent))) break;
  for (; i < n; ++i) {
    std::uint32_t u;
    __builtin_memcpy(&u, x + i, 4);
    if ((u & 0x7f800000u) == 0x7f800000u) return i;
  }
  return -1;
}

}  // namespace r1::cpu::R1_ISA
