// Private to kernels/: the matrix product over packed panels, and packing.
#pragma once

#include "kernels/isa/multiply.h"
#include "kernels/table.h"

namespace r1::cpu::R1_ISA {

inline constexpr int kPanelVectors = 4;
inline constexpr i64 kPanelColumns = kPanelVectors * W;
inline constexpr i64 kStepBytes = kPanelColumns * 4;

R1_INLINE i64 steps_of(Type type, i64 k) { return type == Type::kBF16 ? (k + 1) / 2 : k; }
R1_INLINE i64 padded_steps(Type type, i64 k, i64 multiple) {
  const i64 s = steps_of(type, k);
  return (s + multiple - 1) / multiple * multiple;
}

// Bias, then the store; columns beyond `left` do not exist.
R1_INLINE void finish_vector(const GemmCall& g, i64 row, i64 column, vf v) {
  const i64 left = g.n - column;
  if (left <= 0) return;
  if (g.bias != nullptr) {
    v = v + (g.type == Type::kBF16 ? load_upto(reinterpret_cast<const bf16*>(g.bias) + column, left)
                                   : load_upto(reinterpret_cast<const float*>(g.bias) + column, left));
  }
  if (g.out_type == Type::kBF16) {
    store_upto(reinterpret_cast<bf16*>(g.c) + row * g.ldc + column, v, left);
  } else {
    float* c = reinterpret_cast<float*>(g.c) + row * g.ldc + column;
    if (g.add) v = load_upto(c, left) + v;
    store_upto(c, v, left);
  }
}

template <class Op, int MR, int NV, int kLines>
inline void gemm_tile(const GemmCall& g, i64 steps, const byte* a, i64 a_row_bytes, const byte* b, i64 row, i64 column,
                      const byte* ahead) {
  Acc<MR, NV> acc;
  acc.clear();
  multiply<Op, MR, NV, kLines>(steps, a, a_row_bytes, Adjacent{b}, kStepBytes, acc, ahead);
#pragma GCC unroll 8
  for (int r = 0; r < MR; ++r)
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) finish_vector(g, row + r, column + j * W, acc.v[r][j]);
}

// One panel times `rows` <= kMaxTileRows rows.
template <class Op, int kLines>
inline void gemm_panel_tile(const GemmCall& g, i64 steps, const byte* a, i64 a_row_bytes, const byte* panel, i64 row, i64 rows,
                            i64 column, const byte* ahead) {
#if defined(__AVX512F__)
  R1_DISPATCH_ROWS(rows, (gemm_tile<Op, MR, 4, kLines>(g, steps, a, a_row_bytes, panel, row, column, ahead)))
#else
  // 16 registers: a wide tile for few rows, two narrow ones otherwise.
  if (rows == 1) return gemm_tile<Op, 1, 4, kLines>(g, steps, a, a_row_bytes, panel, row, column, ahead);
  R1_DISPATCH_ROWS(rows, (gemm_tile<Op, MR, 2, kLines>(g, steps, a, a_row_bytes, panel, row, column, ahead)))
  if (column + 2 * W < g.n) {
    R1_DISPATCH_ROWS(rows, (gemm_tile<Op, MR, 2, 0>(g, steps, a, a_row_bytes, panel + 2 * W * 4, row, column + 2 * W, ahead)))
  }
#endif
}

inline std::size_t gemm_scratch(i64 k) { return static_cast<std::size_t>(kMaxTileRows) * static_cast<std::size_t>(k + 1) * 4; }

template <class Op>
inline void gemm_range(const GemmCall& g, i64 panel_begin, i64 panel_end, i64 row_begin, i64 row_end, byte* scratch,
                       i64 step_multiple) {
  const i64 element = g.type == Type::kBF16 ? 2 : 4;
  const i64 steps = steps_of(g.type, g.k);
  const i64 panel_bytes = padded_steps(g.type, g.k, step_multiple) * kStepBytes;
  // bf16 rows go straight from memory unless the Op wants them widened or the last pair would reach beyond the row.
  const bool prepare = g.type == Type::kBF16 && (Op::kABytes == 8 || g.k % 2 != 0);
  // The first tiles of a panel fetch the next panel into L2, each an equal part of its kLinesPerStep lines a step.
  constexpr i64 kLinesPerStep = kStepBytes / 64;
  const i64 row_tiles = (row_end - row_begin + Op::kRows - 1) / Op::kRows;
  const i64 lines = row_tiles == 1 ? kLinesPerStep : row_tiles <= 3 ? (kLinesPerStep + 1) / 2 : (kLinesPerStep + 3) / 4;
  for (i64 panel = panel_begin; panel < panel_end; ++panel) {
    const byte* here = g.b + panel * panel_bytes;
    i64 fetched = panel + 1 < panel_end ? 0 : kLinesPerStep;
    for (i64 row = row_begin; row < row_end;) {
      const i64 rows = next_tile<Op>(row_end - row);
      const byte* a = g.a + row * g.lda * element;
      i64 a_row_bytes = g.lda * element;
      if (prepare) {
        a_row_bytes = steps * Op::kABytes;
        for (i64 r = 0; r < rows; ++r)
          prepare_a_row<Op>(reinterpret_cast<const bf16*>(a) + r * g.lda, g.k, steps, scratch + r * a_row_bytes);
        a = scratch;
      }
      const byte* ahead = here + panel_bytes + fetched * steps * 64;
      const i64 column = panel * kPanelColumns;
      switch (fetched < kLinesPerStep ? lines : 0) {
        case 0: gemm_panel_tile<Op, 0>(g, steps, a, a_row_bytes, here, row, rows, column, ahead); break;
        case 1: gemm_panel_tile<Op, 1>(g, steps, a, a_row_bytes, here, row, rows, column, ahead); break;
        case 2: gemm_panel_tile<Op, 2>(g, steps, a, a_row_bytes, here, row, rows, column, ahead); break;
        default: gemm_panel_tile<Op, 4>(g, steps, a, a_row_bytes, here, row, rows, column, ahead); break;
      }
      fetched += lines;
      row += rows;
    }
  }
}

inline void gemm(const GemmCall& g, i64 panel_begin, i64 panel_end, i64 row_begin, i64 row_end, byte* scratch) {
  if (g.type == Type::kBF16) gemm_range<OpBf16>(g, panel_begin, panel_end, row_begin, row_end, scratch, 1);
  else gemm_range<OpF32>(g, panel_begin, panel_end, row_begin, row_end, scratch, 1);
}

// ---- packing: out[panel][step][column] of 4 bytes --------------------------------------------------------------

typedef std::uint32_t u32x4 __attribute__((vector_size(16)));

R1_INLINE u32x4 load4(const byte* p) { return load_bits<u32x4>(p); }
R1_INLINE u32x4 shuffle(u32x4 a, u32x4 b, int i, int j, int k, int l) {
#if defined(__clang__)
  return u32x4{i < 4 ? a[i] : b[i - 4], j < 4 ? a[j] : b[j - 4], k < 4 ? a[k] : b[k - 4], l < 4 ? a[l] : b[l - 4]};
#else
  return __builtin_shuffle(a, b, u32x4{static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(j),
                                       static_cast<std::uint32_t>(k), static_cast<std::uint32_t>(l)});
#endif
}
// out + r*out_stride = column r of four rows of four words.
R1_INLINE void transpose4(const byte* const in[4], byte* out, i64 out_stride) {
  const u32x4 a = load4(in[0]), b = load4(in[1]), c = load4(in[2]), d = load4(in[3]);
  const u32x4 ab0 = shuffle(a, b, 0, 4, 1, 5), ab1 = shuffle(a, b, 2, 6, 3, 7);
  const u32x4 cd0 = shuffle(c, d, 0, 4, 1, 5), cd1 = shuffle(c, d, 2, 6, 3, 7);
  store_bits(out, shuffle(ab0, cd0, 0, 1, 4, 5));
  store_bits(out + out_stride, shuffle(ab0, cd0, 2, 3, 6, 7));
  store_bits(out + 2 * out_stride, shuffle(ab1, cd1, 0, 1, 4, 5));
  store_bits(out + 3 * out_stride, shuffle(ab1, cd1, 2, 3, 6, 7));
}

// Word `s` of row `n`: a float32, or a pair of bf16 whose second may not exist.
R1_INLINE std::uint32_t packed_word(const PackCall& c, i64 n, i64 s) {
  if (n >= c.n) return 0;
  if (c.type == Type::kF32) {
    std::uint32_t w = 0;
    if (s < c.k) __builtin_memcpy(&w, c.b + (n * c.ld + s) * 4, 4);
    return w;
  }
  const bf16* row = reinterpret_cast<const bf16*>(c.b) + n * c.ld;
  std::uint32_t w = 0;
  if (2 * s < c.k) w = row[2 * s];
  if (2 * s + 1 < c.k) w |= static_cast<std::uint32_t>(row[2 * s + 1]) << 16;
  return w;
}

inline void pack_multiple(const PackCall& c, i64 panel_begin, i64 panel_end, i64 step_multiple) {
  const i64 steps = padded_steps(c.type, c.k, step_multiple);
  const i64 whole_steps = (c.type == Type::kBF16 ? c.k / 2 : c.k) / 4 * 4;
  const i64 row_bytes = c.ld * (c.type == Type::kBF16 ? 2 : 4);
  for (i64 panel = panel_begin; panel < panel_end; ++panel) {
    byte* out = c.out + panel * steps * kStepBytes;
    const i64 n0 = panel * kPanelColumns;
    const i64 whole_columns = max_of(0, min_of(c.n - n0, kPanelColumns)) / 4 * 4;
    // 16 columns at a time: 16 source rows stay in L1 while whole lines of the panel are written.
    for (i64 group = 0; group < whole_columns; group += 16) {
      const i64 group_end = min_of(group + 16, whole_columns);
      for (i64 s = 0; s < whole_steps; s += 4) {
        for (i64 j = group; j < group_end; j += 4) {
          const byte* from = c.b + (n0 + j) * row_bytes + s * 4;
          const byte* const rows[4] = {from, from + row_bytes, from + 2 * row_bytes, from + 3 * row_bytes};
          transpose4(rows, out + s * kStepBytes + j * 4, kStepBytes);
        }
      }
    }
    for (i64 s = 0; s < steps; ++s) {
      for (i64 j = s < whole_steps ? whole_columns : 0; j < kPanelColumns; ++j) {
        const std::uint32_t w = packed_word(c, n0 + j, s);
        __builtin_memcpy(out + s * kStepBytes + j * 4, &w, 4);
      }
    }
  }
}

inline void pack_transposed_multiple(const PackCall& c, i64 panel_begin, i64 panel_end, i64 step_multiple) {
  const i64 steps = padded_steps(c.type, c.k, step_multiple);
  for (i64 panel = panel_begin; panel < panel_end; ++panel) {
    byte* out = c.out + panel * steps * kStepBytes;
    const i64 n0 = panel * kPanelColumns;
    const i64 columns = min_of(c.n - n0, kPanelColumns);
    for (i64 s = 0; s < steps; ++s, out += kStepBytes) {
      if (c.type == Type::kF32) {
        const i64 have = s < c.k ? columns : 0;
        if (have > 0) __builtin_memcpy(out, c.b + (s * c.ld + n0) * 4, static_cast<std::size_t>(have) * 4);
        if (have < kPanelColumns) __builtin_memset(out + have * 4, 0, static_cast<std::size_t>(kPanelColumns - have) * 4);
        continue;
      }
      const bf16* even = reinterpret_cast<const bf16*>(c.b) + 2 * s * c.ld + n0;
      const bf16* odd = even + c.ld;
      const bool has_even = 2 * s < c.k, has_odd = 2 * s + 1 < c.k;
      i64 j = 0;
      if (has_odd) {
        for (; j + W <= columns; j += W)
          store_bits(out + j * 4, widen(load_bits<vh>(even + j)) | (widen(load_bits<vh>(odd + j)) << 16));
      }
      for (; j < kPanelColumns; ++j) {
        std::uint32_t w = 0;
        if (j < columns && has_even) w = even[j];
        if (j < columns && has_odd) w |= static_cast<std::uint32_t>(odd[j]) << 16;
        __builtin_memcpy(out + j * 4, &w, 4);
      }
    }
  }
}

inline void pack(const PackCall& c, i64 begin, i64 end) { pack_multiple(c, begin, end, 1); }
inline void pack_transposed(const PackCall& c, i64 begin, i64 end) { pack_transposed_multiple(c, begin, end, 1); }

template <class T>
inline void transpose_typed(const T* in, i64 rows, i64 ld, T* out, i64 out_ld, i64 begin, i64 end) {
  constexpr i64 kBlock = 32;
  for (i64 r0 = 0; r0 < rows; r0 += kBlock) {
    const i64 r1 = min_of(rows, r0 + kBlock);
    for (i64 c = begin; c < end; ++c)
      for (i64 r = r0; r < r1; ++r) out[c * out_ld + r] = in[r * ld + c];
  }
}

inline void transpose(const byte* in, i64 rows, i64 ld, byte* out, i64 out_ld, Type type, i64 begin, i64 end) {
  if (type == Type::kBF16) {
    transpose_typed(reinterpret_cast<const bf16*>(in), rows, ld, reinterpret_cast<bf16*>(out), out_ld, begin, end);
  } else {
    transpose_typed(reinterpret_cast<const float*>(in), rows, ld, reinterpret_cast<float*>(out), out_ld, begin, end);
  }
}

}  // namespace r1::cpu::R1_ISA
