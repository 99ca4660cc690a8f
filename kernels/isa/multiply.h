// Private to kernels/: the one inner loop of all products (GEMM, attention scores, attention output). Each accumulator
// is a single chain over the steps in ascending order, so an output element has the same bits in a tile of any size.
#pragma once

#include "kernels/isa/simd.h"

namespace r1::cpu::R1_ISA {

// A "step" is one k of float32, or a pair of k of bf16; B holds 4 bytes a column and step.
// Op::kABytes: bytes of a step of A in the form this Op wants; kRows: rows of a full tile.
struct OpF32 {
  static constexpr int kParts = 1, kABytes = 4, kRows = 6;
  using B = vf;
  using A = vf;
  static R1_INLINE A a(const byte* p, int) {
    float x;
    __builtin_memcpy(&x, p, 4);
    return splat(x);
  }
  static R1_INLINE B b(const byte* p, int) { return load_bits<vf>(p); }
  static R1_INLINE vf mac(vf c, A a, B b) { return fma(a, b, c); }
};

// bf16 pairs in B, float32 pairs in A (converted beforehand): the product of the even k, then of the odd k.
struct OpWiden {
  static constexpr int kParts = 2, kABytes = 8, kRows = W == 8 ? 4 : 6;  // AVX2 has no registers left for six
  using B = vf;
  using A = vf;
  static R1_INLINE A a(const byte* p, int part) { return OpF32::a(p + 4 * part, 0); }
  static R1_INLINE B b(const byte* p, int part) {
    const vu pair = load_bits<vu>(p);
    return part == 0 ? (vf)(pair << 16) : (vf)(pair & 0xffff0000u);
  }
  static R1_INLINE vf mac(vf c, A a, B b) { return fma(a, b, c); }
};

#if defined(__AVX512BF16__)
struct OpDot {
  static constexpr int kParts = 1, kABytes = 4, kRows = 6;
  using B = vu;
  using A = vu;
  static R1_INLINE A a(const byte* p, int) {
    std::uint32_t x;
    __builtin_memcpy(&x, p, 4);
    return splat_u(x);
  }
  static R1_INLINE B b(const byte* p, int) { return load_bits<vu>(p); }
  static R1_INLINE vf mac(vf c, A a, B b) {
    return (vf)_mm512_dpbf16_ps((__m512)c, (__m512bh)a, (__m512bh)b);
  }
};
using OpBf16 = OpDot;
#else
using OpBf16 = OpWiden;
#endif

// A tile's accumulators.
template <int MR, int NV> struct Acc {
  vf v[MR][NV];
  R1_INLINE void clear() {
#pragma GCC unroll 8
    for (int r = 0; r < MR; ++r)
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) v[r][j] = zero();
  }
};

// Where the NV vectors of a step of B lie: side by side, or each behind its own pointer.
struct Adjacent {
  const byte* p;
  R1_INLINE const byte* at(int j) const { return p + j * static_cast<i64>(sizeof(vf)); }
};
template <int NV> struct Scattered {
  const byte* p[NV];
  R1_INLINE const byte* at(int j) const { return p[j]; }
};

// What to fetch in step s for the product that comes next.
struct NoFetch {
  R1_INLINE void operator()(i64) const {}
};
template <int kLines> struct FetchLines {
  const byte* from;
  R1_INLINE void operator()(i64 s) const {
#pragma GCC unroll 4
    for (int line = 0; line < kLines; ++line) __builtin_prefetch(from + (s * kLines + line) * 64, 0, 2);
  }
};

template <class Op, int MR, int NV, class BPlace, class Fetch = NoFetch>
R1_INLINE void multiply(i64 steps, const byte* a, i64 a_row_bytes, const BPlace& b, i64 b_step_bytes, Acc<MR, NV>& acc,
                        const Fetch& fetch = {}) {
  for (i64 s = 0; s < steps; ++s) {
    fetch(s);
#pragma GCC unroll 2
    for (int part = 0; part < Op::kParts; ++part) {
      typename Op::B bv[NV];
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) bv[j] = Op::b(b.at(j) + s * b_step_bytes, part);
#pragma GCC unroll 8
      for (int r = 0; r < MR; ++r) {
        const typename Op::A av = Op::a(a + r * a_row_bytes + s * Op::kABytes, part);
#pragma GCC unroll 8
        for (int j = 0; j < NV; ++j) acc.v[r][j] = Op::mac(acc.v[r][j], av, bv[j]);
      }
    }
  }
}

// Calls fn.template operator()<n>() for a run-time n in 1..6.
#define R1_DISPATCH_ROWS(n, CALL)      \
  switch (n) {                         \
    case 1: { constexpr int MR = 1; CALL; break; } \
    case 2: { constexpr int MR = 2; CALL; break; } \
    case 3: { constexpr int MR = 3; CALL; break; } \
    case 4: { constexpr int MR = 4; CALL; break; } \
    case 5: { constexpr int MR = 5; CALL; break; } \
    default: { constexpr int MR = 6; CALL; break; } \
  }

inline constexpr i64 kMaxTileRows = 6;
// How many of `left` rows the next tile takes, so that the last tile is not a small rest: 8 = 4 + 4, not 6 + 2.
template <class Op> R1_INLINE i64 next_tile(i64 left) {
  const i64 tiles = (left + Op::kRows - 1) / Op::kRows;
  return (left + tiles - 1) / tiles;
}

// Writes `steps` steps of one row of A in the form Op wants, zero beyond `k`. From bf16.
template <class Op> inline void prepare_a_row(const bf16* from, i64 k, i64 steps, byte* to) {
  if constexpr (Op::kABytes == 8) {
    float* f = f32(to);
    i64 i = 0;
    for (; i + W <= k; i += W) store(f + i, load(from + i));
    for (; i < k; ++i) f[i] = scalar(from + i);
    for (; i < 2 * steps; ++i) f[i] = 0.f;
  } else {
    __builtin_memcpy(to, from, static_cast<std::size_t>(k) * 2);
    if (2 * steps > k) __builtin_memset(to + 2 * k, 0, static_cast<std::size_t>(2 * steps - k) * 2);
  }
}

}  // namespace r1::cpu::R1_ISA
