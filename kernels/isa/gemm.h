// Private to kernels/: the matrix product over packed panels (isa/pack.h makes them).
#pragma once

#include "kernels/isa/multiply.h"
#include "kernels/isa/pack.h"
#include "kernels/table.h"

namespace r1::cpu::R1_ISA {

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
  multiply<Op, MR, NV>(steps, a, a_row_bytes, Adjacent{b}, kStepBytes, acc, FetchLines<kLines>{ahead});
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

}  // namespace r1::cpu::R1_ISA
