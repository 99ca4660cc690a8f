// Private to kernels/: one vector type per instruction set. Included by each isa_*.cpp after it defined R1_ISA (its
// namespace); the width follows the compiler flags. Plain GCC/Clang vector types with intrinsics where they matter.
// Compiled with -ffp-contract=off: a fused multiply-add happens only where fma() is written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kernels/cpu.h"

#define R1_INLINE inline __attribute__((always_inline))

namespace r1::cpu::R1_ISA {

using std::byte;
using i64 = std::int64_t;

#if defined(__AVX512F__)
inline constexpr int W = 16;
#elif defined(__AVX2__)
inline constexpr int W = 8;
#else
inline constexpr int W = 4;
#endif

typedef float vf __attribute__((vector_size(W * 4)));
typedef std::int32_t vi __attribute__((vector_size(W * 4)));
typedef std::uint32_t vu __attribute__((vector_size(W * 4)));
typedef std::uint16_t vh __attribute__((vector_size(W * 2)));

template <class V> R1_INLINE V load_bits(const void* p) {
  V v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
template <class V> R1_INLINE void store_bits(void* p, V v) { __builtin_memcpy(p, &v, sizeof v); }

R1_INLINE vf splat(float x) {
#if defined(__AVX512F__)
  return (vf)_mm512_set1_ps(x);
#elif defined(__AVX2__)
  return (vf)_mm256_set1_ps(x);
#else
  return vf{x, x, x, x};
#endif
}
R1_INLINE vu splat_u(std::uint32_t x) {
#if defined(__AVX512F__)
  return (vu)_mm512_set1_epi32(static_cast<int>(x));
#elif defined(__AVX2__)
  return (vu)_mm256_set1_epi32(static_cast<int>(x));
#else
  return vu{x, x, x, x};
#endif
}
R1_INLINE vf zero() { return splat(0.f); }

// a * b + c; fused where the CPU does so.
R1_INLINE vf fma(vf a, vf b, vf c) {
#if defined(__AVX512F__)
  return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__)
  return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  return a * b + c;
#endif
}
R1_INLINE vf sqrt(vf a) {
#if defined(__AVX512F__)
  return (vf)_mm512_sqrt_ps((__m512)a);
#elif defined(__AVX2__)
  return (vf)_mm256_sqrt_ps((__m256)a);
#else
  for (int i = 0; i < W; ++i) a[i] = __builtin_sqrtf(a[i]);
  return a;
#endif
}
// Where a is NaN the result is b.
R1_INLINE vf max_or_b(vf a, vf b) {
#if defined(__AVX512F__)
  return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
  return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#else
  return a > b ? a : b;
#endif
}

R1_INLINE vf load(const float* p) { return load_bits<vf>(p); }
R1_INLINE void store(float* p, vf v) { store_bits(p, v); }

R1_INLINE vu widen(vh h) {
#if defined(__AVX512F__)
  return (vu)_mm512_cvtepu16_epi32((__m256i)h);
#elif defined(__AVX2__)
  return (vu)_mm256_cvtepu16_epi32((__m128i)h);
#else
  return __builtin_convertvector(h, vu);
#endif
}
// The low 16 bits of each lane.
R1_INLINE vh narrow(vu x) {
#if defined(__AVX512F__)
  return (vh)_mm512_cvtepi32_epi16((__m512i)x);
#elif defined(__AVX2__)
  // x < 65536 in all uses, so unsigned saturation changes nothing.
  const __m256i packed = _mm256_packus_epi32((__m256i)x, (__m256i)x);
  return (vh)_mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0xD8));
#else
  return __builtin_convertvector(x, vh);
#endif
}
R1_INLINE vf load(const bf16* p) { return (vf)(widen(load_bits<vh>(p)) << 16); }
// Upper 16 bits after rounding to nearest even, in the low half; NaN stays NaN.
R1_INLINE vu round_bf16(vf v) {
  const vu u = (vu)v;
  const vu rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
#if defined(__AVX512F__)
  const __mmask16 nan = _mm512_cmp_ps_mask((__m512)v, (__m512)v, _CMP_UNORD_Q);
  return (vu)_mm512_mask_mov_epi32((__m512i)rounded, nan, (__m512i)((u >> 16) | 0x40u));
#else
  return v == v ? rounded : ((u >> 16) | 0x40u);
#endif
}
R1_INLINE void store_exact(bf16* p, vf v) { store_bits(p, narrow(round_bf16(v))); }
// The same but for denormal results, which the one instruction of AVX512-BF16 makes 0.
R1_INLINE void store(bf16* p, vf v) {
#if defined(__AVX512BF16__)
  const __m256bh h = _mm512_cvtneps_pbh((__m512)v);
  __builtin_memcpy(p, &h, 32);
#else
  store_exact(p, v);
#endif
}

// The first n < W elements; the rest are `fill`, untouched in memory.
template <class T> R1_INLINE vf load_part(const T* p, i64 n, float fill = 0.f) {
  float buffer[W];
  for (int i = 0; i < W; ++i) buffer[i] = fill;
  for (i64 i = 0; i < n; ++i) {
    if constexpr (sizeof(T) == 4) {
      buffer[i] = p[i];
    } else {
      const std::uint32_t u = static_cast<std::uint32_t>(p[i]) << 16;
      __builtin_memcpy(&buffer[i], &u, 4);
    }
  }
  return load(buffer);
}
template <class T> R1_INLINE void store_part(T* p, vf v, i64 n) {
  T buffer[W];
  store(buffer, v);
  for (i64 i = 0; i < n; ++i) p[i] = buffer[i];
}
// fn(offset, full, count) over [0, n) in vectors.
template <class T> R1_INLINE vf load_upto(const T* p, i64 left, float fill = 0.f) {
  return left >= W ? load(p) : load_part(p, left, fill);
}
template <class T> R1_INLINE void store_upto(T* p, vf v, i64 left) {
  if (left >= W) store(p, v);
  else store_part(p, v, left);
}

// Vectors of constant lane numbers; a braced list is what the compiler turns into one permute.
template <int... kLane> struct Lanes {};
template <int kCount, int... kLane> struct LanesOf : LanesOf<kCount - 1, kCount - 1, kLane...> {};
template <int... kLane> struct LanesOf<0, kLane...> {
  using type = Lanes<kLane...>;
};
using AllLanes = typename LanesOf<W>::type;

// Lane i + kHalf in lane i, for the halving sums below; what ends up in the upper lanes is not used.
template <int kHalf, int... kLane> R1_INLINE vf upper_half(vf v, Lanes<kLane...>) {
#if defined(__clang__)
  return __builtin_shufflevector(v, v, ((kLane + kHalf) % W)...);
#else
  return __builtin_shuffle(v, vi{((kLane + kHalf) % W)...});
#endif
}
// Sum and maximum of the lanes, by halves: a fixed tree.
R1_INLINE float sum_lanes(vf v) {
  if constexpr (W >= 16) v = v + upper_half<8>(v, AllLanes{});
  if constexpr (W >= 8) v = v + upper_half<4>(v, AllLanes{});
  v = v + upper_half<2>(v, AllLanes{});
  v = v + upper_half<1>(v, AllLanes{});
  return v[0];
}
R1_INLINE float max_lanes(vf v) {
  if constexpr (W >= 16) v = max_or_b(v, upper_half<8>(v, AllLanes{}));
  if constexpr (W >= 8) v = max_or_b(v, upper_half<4>(v, AllLanes{}));
  v = max_or_b(v, upper_half<2>(v, AllLanes{}));
  v = max_or_b(v, upper_half<1>(v, AllLanes{}));
  return v[0];
}
R1_INLINE double sum_lanes_double(vf v) {
  float f[W];
  store(f, v);
  double x[W];
  for (int i = 0; i < W; ++i) x[i] = f[i];
  for (int half = W / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) x[i] += x[i + half];
  return x[0];
}
template <class T> R1_INLINE float scalar(const T* p) {
  if constexpr (sizeof(T) == 4) {
    return *p;
  } else {
    const std::uint32_t u = static_cast<std::uint32_t>(*p) << 16;
    float f;
    __builtin_memcpy(&f, &u, 4);
    return f;
  }
}

// exp without its range checks: n = round(x / ln 2), and a polynomial of the rest.
struct ExpParts {
  vf p;  // exp(x - n ln 2)
  vf n;
  vf t;  // n in the low bits
};
R1_INLINE ExpParts exp_parts(vf x) {
  const vf magic = splat(12582912.f);  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  const vf t = fma(x, splat(1.44269504088896341f), magic);
  const vf n = t - magic;
  vf r = fma(n, splat(-0.693359375f), x);  // ln 2 in two parts; the first product is exact
  r = fma(n, splat(2.12194440e-4f), r);
  vf p = splat(1.9875691500e-4f);
  p = fma(p, r, splat(1.3981999507e-3f));
  p = fma(p, r, splat(8.3334519073e-3f));
  p = fma(p, r, splat(4.1665795894e-2f));
  p = fma(p, r, splat(1.6666665459e-1f));
  p = fma(p, r, splat(5.0000001201e-1f));
  p = fma(p, r * r, r) + splat(1.f);
  return {p, n, t};
}

inline constexpr float kExpLow = -87.33f, kExpHigh = 88.72f;  // below: 0; above: infinity

// exp(x), relative error below 2e-7 (tested) for results in the normal range; 0 below -87.33, +inf above 88.72; NaN stays NaN.
R1_INLINE vf exp(vf x) {
  const ExpParts e = exp_parts(x);
#if defined(__AVX512F__)
  const vf y = (vf)_mm512_scalef_ps((__m512)e.p, (__m512)e.n);
  const __mmask16 inf = _mm512_cmp_ps_mask((__m512)x, _mm512_set1_ps(kExpHigh), _CMP_GT_OQ);
  const __m512 z = _mm512_mask_mov_ps((__m512)y, inf, _mm512_set1_ps(__builtin_inff()));
  return (vf)_mm512_maskz_mov_ps(_mm512_cmp_ps_mask((__m512)x, _mm512_set1_ps(kExpLow), _CMP_NLT_UQ), z);
#else
  // 2^n by adding n to the exponent, in two steps because n may be 128.
  const vi n = (vi)e.t - (vi)splat(12582912.f);
  const vi half = n >> 1;
  const vf y = (vf)((vi)e.p + (half << 23)) * (vf)(((n - half) + 127) << 23);
  vf out = x < splat(kExpLow) ? zero() : y;
  out = x > splat(kExpHigh) ? splat(__builtin_inff()) : out;
  return x == x ? out : x;
#endif
}

// The same bits for x <= 0 or NaN, with fewer checks.
R1_INLINE vf exp_nonpositive(vf x) {
  const ExpParts e = exp_parts(x);
#if defined(__AVX512F__)
  const __mmask16 normal = _mm512_cmp_ps_mask((__m512)x, _mm512_set1_ps(kExpLow), _CMP_NLT_UQ);
  return (vf)_mm512_maskz_scalef_ps(normal, (__m512)e.p, (__m512)e.n);
#else
  const vf y = (vf)((vi)e.p + ((vi)e.t << 23));  // the constant's own bits leave at the top
  const vf out = x < splat(kExpLow) ? zero() : y;
  return x == x ? out : x;
#endif
}

// tanh(x), absolute error below 2e-7; a polynomial near 0, where the quotient would cancel. NaN stays NaN.
R1_INLINE vf tanh(vf x) {
  const vf low = splat(0.12f), square = x * x;
  vf p = splat(-17.f / 315.f);
  p = fma(p, square, splat(2.f / 15.f));
  p = fma(p, square, splat(-1.f / 3.f));
  const vf small = fma(p * square, x, x);
  const vf size = x < zero() ? -x : x;
  const vf e = exp_nonpositive(splat(-2.f) * size);
  const vf quotient = (splat(1.f) - e) / (splat(1.f) + e);
  const vf signed_quotient = x < zero() ? -quotient : quotient;
  return size < low ? small : signed_quotient;
}

R1_INLINE float* f32(void* p) { return static_cast<float*>(p); }
R1_INLINE i64 min_of(i64 a, i64 b) { return a < b ? a : b; }
R1_INLINE i64 max_of(i64 a, i64 b) { return a > b ? a : b; }

}  // namespace r1::cpu::R1_ISA
