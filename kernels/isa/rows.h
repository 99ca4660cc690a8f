// Private to kernels/: row-wise operations: conversion, RMS norm, rotary embedding, SwiGLU, and their backward passes.
#pragma once

#include "kernels/isa/simd.h"
#include "kernels/table.h"

namespace r1::cpu::R1_ISA {

inline void to_bf16_range(const float* in, bf16* out, i64 n) {
  i64 i = 0;
  for (; i + W <= n; i += W) store_exact(out + i, load(in + i));
  if (i < n) {
    bf16 last[W];
    store_exact(last, load_part(in + i, n - i));
    for (i64 j = i; j < n; ++j) out[j] = last[j - i];
  }
}
inline void to_f32_range(const bf16* in, float* out, i64 n) {
  for (i64 i = 0; i < n; i += W) store_upto(out + i, load_upto(in + i, n - i), n - i);
}

// The value as it is after a store to T.
template <class T> R1_INLINE vf rounded(vf v) {
  if constexpr (sizeof(T) == 4) return v;
#if defined(__AVX512BF16__)
  return (vf)(widen((vh)_mm512_cvtneps_pbh((__m512)v)) << 16);
#else
  return (vf)(round_bf16(v) << 16);
#endif
}

// Sum of squares with four chains; the order depends on d only.
template <class T> R1_INLINE float row_square_sum(const T* x, i64 d) {
  vf s[4] = {zero(), zero(), zero(), zero()};
  i64 i = 0;
  for (; i + 4 * W <= d; i += 4 * W)
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const vf v = load(x + i + j * W);
      s[j] = fma(v, v, s[j]);
    }
  for (; i < d; i += W) {
    const vf v = load_upto(x + i, d - i);
    s[0] = fma(v, v, s[0]);
  }
  return sum_lanes((s[0] + s[1]) + (s[2] + s[3]));
}

template <class X, class T> R1_INLINE void norm_row(const X* x, i64 d, const T* g, float eps, T* y, float* rstd_out, Gain gain) {
  const float rstd = 1.f / __builtin_sqrtf(row_square_sum(x, d) / static_cast<float>(d) + eps);
  if (rstd_out != nullptr) *rstd_out = rstd;
  const vf scale = splat(rstd);
  if (gain == Gain::kUnitOffset) {
    for (i64 i = 0; i < d; i += W) {
      const i64 left = d - i;
      store_upto(y + i, load_upto(x + i, left) * scale * (splat(1.f) + load_upto(g + i, left)), left);
    }
    return;
  }
  for (i64 i = 0; i < d; i += W) {
    const i64 left = d - i;
    store_upto(y + i, rounded<T>(load_upto(x + i, left) * scale) * load_upto(g + i, left), left);
  }
}

// dx = rstd (g dy - xhat mean(g dy xhat)); dg += dy * (xhat as the forward pass rounded it).
template <bool kAdd, class X, class T, class D>
R1_INLINE void norm_row_backward(const X* x, const T* g, float rstd, const T* dy, i64 d, D* dx, float* dg, Gain gain) {
  const vf scale = splat(rstd), offset = splat(gain == Gain::kUnitOffset ? 1.f : 0.f);
  vf dot = zero();
  for (i64 i = 0; i < d; i += W) {
    const i64 left = d - i;
    const vf dyv = load_upto(dy + i, left), xhat = load_upto(x + i, left) * scale;
    dot = fma(dyv * (load_upto(g + i, left) + offset), xhat, dot);
    store_upto(dg + i, fma(dyv, gain == Gain::kUnitOffset ? xhat : rounded<T>(xhat), load_upto(dg + i, left)), left);
  }
  const vf mean = splat(sum_lanes(dot) / static_cast<float>(d));
  for (i64 i = 0; i < d; i += W) {
    const i64 left = d - i;
    const vf gdy = load_upto(dy + i, left) * (load_upto(g + i, left) + offset), xhat = load_upto(x + i, left) * scale;
    vf v = (gdy - xhat * mean) * scale;
    if constexpr (kAdd) v = load_upto(dx + i, left) + v;
    store_upto(dx + i, v, left);
  }
}

template <class T>
inline void rms_norm_typed(const float* x, i64 m, i64 d, const T* g, float eps, T* y, float* rstd, Gain gain) {
  for (i64 i = 0; i < m; ++i) norm_row(x + i * d, d, g, eps, y + i * d, rstd ? rstd + i : nullptr, gain);
}
inline void rms_norm(const float* x, i64 m, i64 d, const void* g, float eps, void* y, Type type, float* rstd, Gain gain) {
  if (type == Type::kBF16) rms_norm_typed(x, m, d, static_cast<const bf16*>(g), eps, static_cast<bf16*>(y), rstd, gain);
  else rms_norm_typed(x, m, d, static_cast<const float*>(g), eps, static_cast<float*>(y), rstd, gain);
}

template <class T>
inline void rms_norm_heads_typed(const T* x, i64 m, i64 heads, i64 d, i64 ld, const T* g, float eps, T* y, i64 y_ld, float* rstd, Gain gain) {
  for (i64 i = 0; i < m; ++i)
    for (i64 h = 0; h < heads; ++h)
      norm_row(x + i * ld + h * d, d, g, eps, y + i * y_ld + h * d, rstd ? rstd + i * heads + h : nullptr, gain);
}
inline void rms_norm_heads(const void* x, i64 m, i64 heads, i64 d, i64 ld, const void* g, float eps, void* y, i64 y_ld, Type type,
                           float* rstd, Gain gain) {
  if (type == Type::kBF16)
    rms_norm_heads_typed(static_cast<const bf16*>(x), m, heads, d, ld, static_cast<const bf16*>(g), eps, static_cast<bf16*>(y), y_ld, rstd, gain);
  else
    rms_norm_heads_typed(static_cast<const float*>(x), m, heads, d, ld, static_cast<const float*>(g), eps, static_cast<float*>(y), y_ld, rstd, gain);
}

inline void rms_norm_backward(const float* x, const void* g, const float* rstd, const void* dy, Type type, i64 m, i64 d, float* dx,
                              float* dg, Gain gain) {
  for (i64 i = 0; i < m; ++i) {
    if (type == Type::kBF16)
      norm_row_backward<true>(x + i * d, static_cast<const bf16*>(g), rstd[i], static_cast<const bf16*>(dy) + i * d, d, dx + i * d, dg, gain);
    else
      norm_row_backward<true>(x + i * d, static_cast<const float*>(g), rstd[i], static_cast<const float*>(dy) + i * d, d, dx + i * d, dg, gain);
  }
}

template <class T>
inline void rms_norm_heads_backward_typed(const T* x, i64 ld, const T* g, const float* rstd, const T* dy, i64 dy_ld, i64 m, i64 heads,
                                          i64 d, T* dx, i64 dx_ld, float* dg, Gain gain) {
  for (i64 i = 0; i < m; ++i)
    for (i64 h = 0; h < heads; ++h)
      norm_row_backward<false>(x + i * ld + h * d, g, rstd[i * heads + h], dy + i * dy_ld + h * d, d, dx + i * dx_ld + h * d, dg, gain);
}
inline void rms_norm_heads_backward(const void* x, i64 ld, const void* g, const float* rstd, const void* dy, i64 dy_ld, Type type, i64 m,
                                    i64 heads, i64 d, void* dx, i64 dx_ld, float* dg, Gain gain) {
  if (type == Type::kBF16)
    rms_norm_heads_backward_typed(static_cast<const bf16*>(x), ld, static_cast<const bf16*>(g), rstd, static_cast<const bf16*>(dy), dy_ld,
                                  m, heads, d, static_cast<bf16*>(dx), dx_ld, dg, gain);
  else
    rms_norm_heads_backward_typed(static_cast<const float*>(x), ld, static_cast<const float*>(g), rstd, static_cast<const float*>(dy),
                                  dy_ld, m, heads, d, static_cast<float*>(dx), dx_ld, dg, gain);
}

template <class T>
inline void rope_typed(T* x, i64 m, i64 heads, i64 d, i64 ld, const std::int32_t* positions, const float* cos, const float* sin, float sign) {
  const i64 half = d / 2;
  for (i64 i = 0; i < m; ++i) {
    const float* c = cos + positions[i] * half;
    const float* s = sin + positions[i] * half;
    for (i64 h = 0; h < heads; ++h) {
      T* a = x + i * ld + h * d;
      T* b = a + half;
      for (i64 j = 0; j < half; j += W) {
        const i64 left = half - j;
        const vf cv = load_upto(c + j, left), sv = load_upto(s + j, left) * splat(sign);
        const vf av = load_upto(a + j, left), bv = load_upto(b + j, left);
        store_upto(a + j, av * cv - bv * sv, left);
        store_upto(b + j, bv * cv + av * sv, left);
      }
    }
  }
}
inline void rope(void* x, i64 m, i64 heads, i64 d, i64 ld, const std::int32_t* positions, const float* cos, const float* sin, float sign,
                 Type type) {
  if (type == Type::kBF16) rope_typed(static_cast<bf16*>(x), m, heads, d, ld, positions, cos, sin, sign);
  else rope_typed(static_cast<float*>(x), m, heads, d, ld, positions, cos, sin, sign);
}

// 1 / (1 + exp(-x)); exp overflows to infinity for very negative x, which gives 0 as it should.
R1_INLINE vf sigmoid(vf x) { return splat(1.f) / (splat(1.f) + exp(-x)); }

// A gated unit's activation and its derivative.
struct Silu {
  static R1_INLINE vf value(vf x) { return x * sigmoid(x); }
  static R1_INLINE void both(vf x, vf& y, vf& slope) {
    const vf s = sigmoid(x);
    y = x * s;
    slope = s * (splat(1.f) + x * (splat(1.f) - s));
  }
};
struct GeluTanh {  // (1 + tanh z) / 2 = sigmoid(2 z), which does not cancel for negative z
  static constexpr float kTwice = 2 * 0.7978845608f, kCube = 0.044715f;
  static R1_INLINE vf gate(vf x) { return sigmoid(splat(kTwice) * (x + splat(kCube) * x * x * x)); }
  static R1_INLINE vf value(vf x) { return x * gate(x); }
  static R1_INLINE void both(vf x, vf& y, vf& slope) {
    const vf s = gate(x);
    y = x * s;
    slope = s + y * (splat(1.f) - s) * splat(kTwice) * (splat(1.f) + splat(3 * kCube) * x * x);
  }
};

template <class A, class T> inline void gated_typed(const T* gate_up, i64 m, i64 f, T* out) {
  for (i64 i = 0; i < m; ++i) {
    const T* gate = gate_up + i * 2 * f;
    const T* up = gate + f;
    for (i64 j = 0; j < f; j += W) {
      const i64 left = f - j;
      store_upto(out + i * f + j, A::value(load_upto(gate + j, left)) * load_upto(up + j, left), left);
    }
  }
}
template <class A> inline void gated(const void* gate_up, i64 m, i64 f, void* out, Type type) {
  if (type == Type::kBF16) gated_typed<A>(static_cast<const bf16*>(gate_up), m, f, static_cast<bf16*>(out));
  else gated_typed<A>(static_cast<const float*>(gate_up), m, f, static_cast<float*>(out));
}
inline void swiglu(const void* gate_up, i64 m, i64 f, void* out, Type type, Activation activation) {
  if (activation == Activation::kSilu) gated<Silu>(gate_up, m, f, out, type);
  else gated<GeluTanh>(gate_up, m, f, out, type);
}

template <class A, class T> inline void gated_backward_typed(const T* gate_up, const T* dy, i64 m, i64 f, T* d_gate_up) {
  for (i64 i = 0; i < m; ++i) {
    const T* gate = gate_up + i * 2 * f;
    const T* up = gate + f;
    T* d_gate = d_gate_up + i * 2 * f;
    T* d_up = d_gate + f;
    for (i64 j = 0; j < f; j += W) {
      const i64 left = f - j;
      const vf g = load_upto(gate + j, left), u = load_upto(up + j, left), d = load_upto(dy + i * f + j, left);
      vf value, slope;
      A::both(g, value, slope);
      store_upto(d_gate + j, d * u * slope, left);
      store_upto(d_up + j, d * value, left);
    }
  }
}
template <class A> inline void gated_backward(const void* gate_up, const void* dy, i64 m, i64 f, void* d_gate_up, Type type) {
  if (type == Type::kBF16)
    gated_backward_typed<A>(static_cast<const bf16*>(gate_up), static_cast<const bf16*>(dy), m, f, static_cast<bf16*>(d_gate_up));
  else
    gated_backward_typed<A>(static_cast<const float*>(gate_up), static_cast<const float*>(dy), m, f, static_cast<float*>(d_gate_up));
}
inline void swiglu_backward(const void* gate_up, const void* dy, i64 m, i64 f, void* d_gate_up, Type type, Activation activation) {
  if (activation == Activation::kSilu) gated_backward<Silu>(gate_up, dy, m, f, d_gate_up, type);
  else gated_backward<GeluTanh>(gate_up, dy, m, f, d_gate_up, type);
}

}  // namespace r1::cpu::R1_ISA
