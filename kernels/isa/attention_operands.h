// Private to kernels/: operands of the attention gradient's products. A left operand is rows of steps as Op reads them;
// a right operand is words [step][column], a word being a float32 or a pair of bf16 of two neighbouring k.
#pragma once

#include "kernels/isa/gemm.h"

namespace r1::cpu::R1_ISA {

inline constexpr i64 kKeyTile = 48, kQueryTile = 64, kMaxHeadDim = 1024;
template <class T> inline constexpr i64 pairs_of = sizeof(T) == 2 ? 2 : 1;

// c[m][n] (+)= left * right; n a multiple of 16.
template <class Op, bool kAdd, int MR, int NV>
inline void product_tile(i64 steps, const byte* a, i64 a_row_bytes, const byte* b, i64 b_step_bytes, float* c, i64 c_row) {
  Acc<MR, NV> acc;
#pragma GCC unroll 8
  for (int r = 0; r < MR; ++r)
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) acc.v[r][j] = kAdd ? load(c + r * c_row + j * W) : zero();
  multiply<Op, MR, NV>(steps, a, a_row_bytes, Adjacent{b}, b_step_bytes, acc);
#pragma GCC unroll 8
  for (int r = 0; r < MR; ++r)
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) store(c + r * c_row + j * W, acc.v[r][j]);
}

template <class Op, bool kAdd>
inline void product(i64 m, i64 n, i64 steps, const byte* a, i64 a_row_bytes, const byte* b, i64 b_step_bytes, float* c, i64 c_row) {
  constexpr int kWide = W == 16 ? 4 : 2;
  for (i64 i = 0; i < m;) {
    const i64 rows = next_tile<Op>(m - i);
    const byte* left = a + i * a_row_bytes;
    i64 j = 0;
    for (; j + kWide * W <= n; j += kWide * W) {
      R1_DISPATCH_ROWS(rows, (product_tile<Op, kAdd, MR, kWide>(steps, left, a_row_bytes, b + j * 4, b_step_bytes, c + i * c_row + j, c_row)))
    }
    for (; j + 2 * W <= n; j += 2 * W) {
      R1_DISPATCH_ROWS(rows, (product_tile<Op, kAdd, MR, 2>(steps, left, a_row_bytes, b + j * 4, b_step_bytes, c + i * c_row + j, c_row)))
    }
    for (; j < n; j += W) {
      R1_DISPATCH_ROWS(rows, (product_tile<Op, kAdd, MR, 1>(steps, left, a_row_bytes, b + j * 4, b_step_bytes, c + i * c_row + j, c_row)))
    }
    i += rows;
  }
}

// One row over its own columns.
template <class Op> R1_INLINE void prepare_left(const bf16* from, i64 d, byte* to) { prepare_a_row<Op>(from, d, d / 2, to); }
template <class Op> R1_INLINE void prepare_left(const float* from, i64 d, byte* to) {
  __builtin_memcpy(to, from, static_cast<std::size_t>(d) * 4);
}

// to[column j] holds element (row i, column j) at step position i: the transpose of rows [n][ld].
template <class Op, class T> inline void transpose_left(const T* from, i64 ld, i64 n, i64 d, byte* to, i64 to_bytes) {
  constexpr bool kNarrow = sizeof(T) == 2 && Op::kABytes == 4;
  for (i64 j = 0; j < d; ++j) {
    for (i64 i = 0; i < n; ++i) {
      if constexpr (kNarrow) __builtin_memcpy(to + j * to_bytes + i * 2, from + i * ld + j, 2);
      else f32(to + j * to_bytes)[i] = scalar(from + i * ld + j);
    }
  }
}

// A vector of results at columns c.. of a left operand's row.
template <class Op, class T> R1_INLINE void store_left(byte* row, i64 c, vf v) {
  if constexpr (sizeof(T) == 2 && Op::kABytes == 4) store(reinterpret_cast<bf16*>(row) + c, v);
  else store(f32(row) + c, v);
}

// Words of two neighbouring steps of results: a pair of bf16, or just the first as float32.
template <class T> R1_INLINE vu right_words(vf even, vf odd) {
  if constexpr (sizeof(T) == 4) return (vu)even;
#if defined(__AVX512BF16__)
  return widen((vh)_mm512_cvtneps_pbh((__m512)even)) | (widen((vh)_mm512_cvtneps_pbh((__m512)odd)) << 16);
#else
  return round_bf16(even) | (round_bf16(odd) << 16);
#endif
}

// v where the lane's index c + lane lies in [low, high), else 0.
R1_INLINE vf keep_between(vf v, i64 c, i64 low, i64 high) {
  for (int lane = 0; lane < W; ++lane)
    if (c + lane < low || c + lane >= high) v[lane] = 0.f;
  return v;
}

// Rows [n][ld] as a right operand whose steps run over the d columns: [d / pairs][kQueryTile], columns beyond n zero.
template <class T> inline void right_over_columns(const T* from, i64 ld, i64 n, i64 d, byte* to) {
  constexpr i64 kPairs = pairs_of<T>;
  const i64 whole = n / 4 * 4;
  for (i64 s = 0; s < d / kPairs; s += 4) {  // d is a multiple of 16
    for (i64 i = 0; i < whole; i += 4) {
      const byte* row = reinterpret_cast<const byte*>(from + i * ld) + s * 4;
      const i64 bytes = ld * static_cast<i64>(sizeof(T));
      const byte* const rows[4] = {row, row + bytes, row + 2 * bytes, row + 3 * bytes};
      transpose4(rows, to + (s * kQueryTile + i) * 4, kQueryTile * 4);
    }
    for (i64 k = s; k < s + 4; ++k)
      for (i64 i = whole; i < kQueryTile; ++i) {
        std::uint32_t word = 0;
        if (i < n) __builtin_memcpy(&word, from + i * ld + k * kPairs, 4);
        __builtin_memcpy(to + (k * kQueryTile + i) * 4, &word, 4);
      }
  }
}

// Rows [n][ld] as a right operand whose steps run over the rows: [kQueryTile / pairs][d], rows beyond n zero.
template <class T> inline void right_over_rows(const T* from, i64 ld, i64 n, i64 d, byte* to) {
  constexpr i64 kPairs = pairs_of<T>;
  for (i64 s = 0; s < kQueryTile / kPairs; ++s) {
    const i64 r = s * kPairs;
    for (i64 j = 0; j < d; j += W) {
      vu word = splat_u(0);
      if constexpr (kPairs == 2) {
        if (r < n) word = widen(load_bits<vh>(from + r * ld + j));
        if (r + 1 < n) word = word | (widen(load_bits<vh>(from + (r + 1) * ld + j)) << 16);
      } else {
        if (r < n) word = load_bits<vu>(from + r * ld + j);
      }
      store_bits(to + (s * d + j) * 4, word);
    }
  }
}

}  // namespace r1::cpu::R1_ISA
