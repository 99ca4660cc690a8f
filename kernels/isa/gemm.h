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

// What one tile of rows does: a slice of `steps` steps of one panel. Long sums are cut into slices so that a slice of the
// panel stays in cache for all rows; accumulators wait in `partial` meanwhile, unchanged, so a sum is still one chain.
struct TileWork {
  const byte* a = nullptr;
  i64 a_row_bytes = 0;
  const byte* b = nullptr;
  i64 steps = 0, row = 0, column = 0;
  float* partial = nullptr;  // [rows][kPanelColumns]
  bool first = true, last = true;
  const byte* ahead = nullptr;  // what comes next in memory
};

template <class Op, int MR, int NV, int kLines>
inline void gemm_tile(const GemmCall& g, const TileWork& t, i64 offset) {
  Acc<MR, NV> acc;
  acc.clear();
  if (!t.first) {
#pragma GCC unroll 8
    for (int r = 0; r < MR; ++r)
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) acc.v[r][j] = load(t.partial + r * kPanelColumns + offset + j * W);
  }
  multiply<Op, MR, NV>(t.steps, t.a, t.a_row_bytes, Adjacent{t.b + offset * 4}, kStepBytes, acc, FetchLines<kLines>{t.ahead});
  if (t.last) {
#pragma GCC unroll 8
    for (int r = 0; r < MR; ++r)
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) finish_vector(g, t.row + r, t.column + offset + j * W, acc.v[r][j]);
  } else {
#pragma GCC unroll 8
    for (int r = 0; r < MR; ++r)
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) store(t.partial + r * kPanelColumns + offset + j * W, acc.v[r][j]);
  }
}

// One panel times `rows` <= kMaxTileRows rows.
template <class Op, int kLines> inline void gemm_panel_tile(const GemmCall& g, const TileWork& t, i64 rows) {
#if defined(__AVX512F__)
  R1_DISPATCH_ROWS(rows, (gemm_tile<Op, MR, 4, kLines>(g, t, 0)))
#else
  // 16 registers: a wide tile for few rows, two narrow ones otherwise.
  if (rows == 1) return gemm_tile<Op, 1, 4, kLines>(g, t, 0);
  R1_DISPATCH_ROWS(rows, (gemm_tile<Op, MR, 2, kLines>(g, t, 0)))
  if (t.column + 2 * W < g.n) {
    R1_DISPATCH_ROWS(rows, (gemm_tile<Op, MR, 2, 0>(g, t, 2 * W)))
  }
#endif
}

inline constexpr i64 kSliceBytes = 256 << 10;                    // of a panel
inline constexpr i64 kSliceSteps = kSliceBytes / kStepBytes;

// A tile's rows in the form an Op wants, then partial sums of `rows` rows.
inline std::size_t gemm_scratch(i64 k, i64 rows) {
  const i64 left = (kMaxTileRows * (k + 1) * 4 + 63) / 64 * 64;
  return static_cast<std::size_t>(left + (rows + kMaxTileRows) * kPanelColumns * 4);
}

template <class Op>
inline void gemm_range(const GemmCall& g, i64 panel_begin, i64 panel_end, i64 row_begin, i64 row_end, byte* scratch) {
  const i64 element = g.type == Type::kBF16 ? 2 : 4, pairs = g.type == Type::kBF16 ? 2 : 1;
  const i64 steps = steps_of(g.type, g.k);
  const i64 panel_bytes = steps_of(g.type, g.b_k) * kStepBytes;
  const byte* first = g.b + steps_of(g.type, g.k_first) * kStepBytes;
  // bf16 rows go straight from memory unless the Op wants them widened or the last pair would reach beyond the row.
  const bool prepare = g.type == Type::kBF16 && (Op::kABytes == 8 || (g.k % 2 != 0 && !g.a_padded));
  float* partial = f32(scratch + (kMaxTileRows * (g.k + 1) * 4 + 63) / 64 * 64);
  const i64 row_tiles = (row_end - row_begin + Op::kRows - 1) / Op::kRows;
  const i64 slice = row_tiles > 1 && steps > 2 * kSliceSteps ? kSliceSteps : steps;
  // The first tiles of a slice fetch what follows it into L2, each an equal part of its kLinesPerStep lines a step.
  constexpr i64 kLinesPerStep = kStepBytes / 64;
  const i64 lines = row_tiles == 1 ? kLinesPerStep : row_tiles <= 3 ? (kLinesPerStep + 1) / 2 : (kLinesPerStep + 3) / 4;
  for (i64 panel = panel_begin; panel < panel_end; ++panel) {
    for (i64 s0 = 0; s0 < steps; s0 += slice) {
      TileWork t;
      t.steps = min_of(slice, steps - s0);
      t.first = s0 == 0;
      t.last = s0 + t.steps == steps;
      t.column = panel * kPanelColumns;
      t.b = first + panel * panel_bytes + s0 * kStepBytes;
      i64 fetched = t.last && panel + 1 == panel_end ? kLinesPerStep : 0;
      for (t.row = row_begin; t.row < row_end;) {
        const i64 rows = next_tile<Op>(row_end - t.row);
        t.a_row_bytes = g.lda * element;
        t.a = g.a + t.row * t.a_row_bytes + s0 * 4;
        if (prepare) {
          for (i64 r = 0; r < rows; ++r) {
            prepare_a_row<Op>(reinterpret_cast<const bf16*>(t.a + r * t.a_row_bytes), min_of(g.k - s0 * pairs, t.steps * pairs), t.steps,
                              scratch + r * t.steps * Op::kABytes);
          }
          t.a = scratch;
          t.a_row_bytes = t.steps * Op::kABytes;
        }
        t.partial = partial + (t.row - row_begin) * kPanelColumns;
        t.ahead = t.b + t.steps * kStepBytes + fetched * t.steps * 64;
        switch (fetched < kLinesPerStep ? lines : 0) {
          case 0: gemm_panel_tile<Op, 0>(g, t, rows); break;
          case 1: gemm_panel_tile<Op, 1>(g, t, rows); break;
          case 2: gemm_panel_tile<Op, 2>(g, t, rows); break;
          default: gemm_panel_tile<Op, 4>(g, t, rows); break;
        }
        fetched += lines;
        t.row += rows;
      }
    }
  }
}

inline void gemm(const GemmCall& g, i64 panel_begin, i64 panel_end, i64 row_begin, i64 row_end, byte* scratch) {
  if (g.type == Type::kBF16) gemm_range<OpBf16>(g, panel_begin, panel_end, row_begin, row_end, scratch);
  else gemm_range<OpF32>(g, panel_begin, panel_end, row_begin, row_end, scratch);
}

}  // namespace r1::cpu::R1_ISA
