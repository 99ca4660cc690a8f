// Private to kernels/: the softmax over the vocabulary, in pieces that sampler and learner share.
#pragma once

#include "kernels/isa/simd.h"
#include "kernels/table.h"

namespace r1::cpu::R1_ISA {

// NaN entries are passed over; -inf if nothing is left. They show up in exp_sum.
inline float row_max(const float* x, i64 n) {
  const vf lowest = splat(-__builtin_inff());
  vf m[4] = {lowest, lowest, lowest, lowest};
  i64 i = 0;
  for (; i + 4 * W <= n; i += 4 * W)
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) m[j] = max_or_b(load(x + i + j * W), m[j]);
  for (; i < n; i += W) m[0] = max_or_b(load_upto(x + i, n - i, -__builtin_inff()), m[0]);
  return max_lanes(max_or_b(max_or_b(m[0], m[1]), max_or_b(m[2], m[3])));
}

// The one expression for a shifted score. -inf (a banned token) gives exp = 0.
R1_INLINE vf shifted(vf x, vf inv_t, vf max) { return x * inv_t - max; }
// Keeps e * t finite where e is 0: below this exp() is 0 anyway.
R1_INLINE vf finite_below(vf t) { return t < splat(-120.f) ? splat(-120.f) : t; }

template <bool kWeighted> R1_INLINE double exp_sum_impl(const float* x, i64 n, float inv_t, float max, double* weighted) {
  const vf it = splat(inv_t), mx = splat(max);
  vf s[4] = {zero(), zero(), zero(), zero()}, w[4] = {zero(), zero(), zero(), zero()};
  i64 i = 0;
  for (; i + 4 * W <= n; i += 4 * W)
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const vf t = shifted(load(x + i + j * W), it, mx);
      const vf e = exp(t);
      s[j] = s[j] + e;
      if constexpr (kWeighted) w[j] = fma(e, finite_below(t), w[j]);
    }
  for (; i < n; i += W) {
    const vf t = shifted(load_upto(x + i, n - i, -__builtin_inff()), it, mx);
    const vf e = exp(t);
    s[0] = s[0] + e;
    if constexpr (kWeighted) w[0] = fma(e, finite_below(t), w[0]);
  }
  if constexpr (kWeighted) *weighted = sum_lanes_double((w[0] + w[1]) + (w[2] + w[3]));
  return sum_lanes_double((s[0] + s[1]) + (s[2] + s[3]));
}
inline double exp_sum(const float* x, i64 n, float inv_t, float max, double* weighted) {
  return weighted ? exp_sum_impl<true>(x, n, inv_t, max, weighted) : exp_sum_impl<false>(x, n, inv_t, max, nullptr);
}
inline void exp_values(const float* x, i64 n, float inv_t, float max, float* out) {
  for (i64 i = 0; i < n; i += W)
    store_upto(out + i, exp(shifted(load_upto(x + i, n - i), splat(inv_t), splat(max))), n - i);
}

R1_INLINE bool any_lane(vi mask) {
#if defined(__AVX512F__)
  return _mm512_test_epi32_mask((__m512i)mask, (__m512i)mask) != 0;
#elif defined(__AVX2__)
  return !_mm256_testz_si256((__m256i)mask, (__m256i)mask);
#else
  std::int32_t any = 0;
  for (int i = 0; i < W; ++i) any |= mask[i];
  return any != 0;
#endif
}

inline i64 first_equal(const float* x, i64 n, float value) {
  const vf v = splat(value);
  i64 i = 0;
  for (; i + W <= n; i += W)
    if (any_lane((vi)(load(x + i) == v))) break;
  for (; i < n; ++i)
    if (x[i] == value) return i;
  return n;
}

inline i64 collect(const float* x, i64 n, float threshold, std::int32_t* out) {
  const vf v = splat(threshold);
  i64 found = 0, i = 0;
#if defined(__AVX512F__)
  // A vector at a time reaches up to 16 places behind the last id found, which the room for n ids allows.
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  for (; i + W <= n; i += W) {
    const __mmask16 hit = _mm512_cmp_ps_mask((__m512)load(x + i), (__m512)v, _CMP_GE_OQ);
    const __m512i ids = _mm512_add_epi32(lanes, _mm512_set1_epi32(static_cast<int>(i)));
    _mm512_storeu_si512(out + found, _mm512_maskz_compress_epi32(hit, ids));
    found += __builtin_popcount(hit);
  }
#endif
  for (; i + W <= n; i += W) {
    if (!any_lane((vi)(load(x + i) >= v))) continue;
    for (i64 j = i; j < i + W; ++j)
      if (x[j] >= threshold) out[found++] = static_cast<std::int32_t>(j);
  }
  for (; i < n; ++i)
    if (x[i] >= threshold) out[found++] = static_cast<std::int32_t>(i);
  return found;
}

template <class T>
inline void row_logprob_backward_typed(const float* x, i64 v, float inv_t, float logsumexp, float entropy, i64 target, float c1, float c2,
                                       T* out) {
  const vf it = splat(inv_t), lse = splat(logsumexp), h = splat(entropy), k1 = splat(c1), k2 = splat(c2);
  const auto value = [&](vf logit) {
    const vf lp = shifted(logit, it, lse);
    const vf p = exp(lp);
    return (-(p * k1) - (p * k2) * (finite_below(lp) + h)) * it;
  };
  for (i64 i = 0; i < v; i += W) store_upto(out + i, value(load_upto(x + i, v - i)), v - i);
  if (target >= 0 && target < v) {
    const vf one = value(splat(x[target])) + splat(c1) * it;
    store_part(out + target, one, 1);
  }
}
inline void row_logprob_backward(const float* x, i64 v, float inv_t, float logsumexp, float entropy, i64 target, float c1, float c2,
                                 void* out, Type type) {
  if (type == Type::kBF16) row_logprob_backward_typed(x, v, inv_t, logsumexp, entropy, target, c1, c2, static_cast<bf16*>(out));
  else row_logprob_backward_typed(x, v, inv_t, logsumexp, entropy, target, c1, c2, static_cast<float*>(out));
}

}  // namespace r1::cpu::R1_ISA
