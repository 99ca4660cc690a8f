// Private to kernels/: bf16 products on AMX tiles. TDPBF16PS sums each output element over its own row and column only,
// 16 pairs an instruction, in a fixed order; every M, a single row included, goes through it, so bits do not depend on M.
#pragma once

#include "kernels/isa/gemm.h"
#include "kernels/isa/make_table.h"

namespace r1::cpu::R1_ISA {

inline constexpr i64 kTileSteps = 16;                    // pairs of k in a tile
inline constexpr i64 kTileRows = 16, kTileColumns = 16;  // of float32 results

struct alignas(64) TileConfig {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t bytes_per_row[16] = {};
  std::uint8_t rows[16] = {};
};
static_assert(sizeof(TileConfig) == 64);

// Tiles 0..3: results [2 row halves][2 column halves]; 4, 5: A's halves; 6, 7: B's halves. A's second half may have no rows.
R1_INLINE void configure(i64 rows0, i64 rows1) {
  TileConfig c;
  for (int t = 0; t < 8; ++t) {
    c.bytes_per_row[t] = 64;
    c.rows[t] = 16;
  }
  const i64 second = rows1 > 0 ? rows1 : 1;
  c.rows[0] = c.rows[1] = c.rows[4] = static_cast<std::uint8_t>(rows0);
  c.rows[2] = c.rows[3] = c.rows[5] = static_cast<std::uint8_t>(second);
  _tile_loadconfig(&c);
}

inline constexpr i64 kAmxRows = 2 * kTileRows;

// [kAmxRows][64 columns] results, then one block of A rows padded to whole tiles.
inline std::size_t amx_gemm_scratch(i64 k) {
  const i64 padded = (k + 31) / 32 * 32;
  const i64 amx_bytes = kAmxRows * kPanelColumns * 4 + kAmxRows * padded * 2;
  return static_cast<std::size_t>(max_of(amx_bytes, static_cast<i64>(gemm_scratch(k))));
}

// results[rows][kPanelColumns] = A rows * panel. rows0 in 1..16, rows1 in 0..16.
inline void amx_tile(const byte* a, i64 a_row_bytes, const byte* panel, i64 tiles, i64 rows1, float* results) {
  constexpr i64 kTileStride = kTileSteps * kStepBytes;  // bytes of B between tiles along k
  for (i64 half = 0; half < 2; ++half) {
    const byte* b = panel + half * 2 * kTileColumns * 4;
    float* out = results + half * 2 * kTileColumns;
    _tile_zero(0);
    _tile_zero(1);
    if (rows1 > 0) {
      _tile_zero(2);
      _tile_zero(3);
      for (i64 t = 0; t < tiles; ++t) {
        _tile_loadd(4, a + t * 64, a_row_bytes);
        _tile_loadd(6, b + t * kTileStride, kStepBytes);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, b + t * kTileStride + kTileColumns * 4, kStepBytes);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, a + kTileRows * a_row_bytes + t * 64, a_row_bytes);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
      }
      _tile_stored(2, out + kTileRows * kPanelColumns, kPanelColumns * 4);
      _tile_stored(3, out + kTileRows * kPanelColumns + kTileColumns, kPanelColumns * 4);
    } else {
      for (i64 t = 0; t < tiles; ++t) {
        _tile_loadd(4, a + t * 64, a_row_bytes);
        _tile_loadd(6, b + t * kTileStride, kStepBytes);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, b + t * kTileStride + kTileColumns * 4, kStepBytes);
        _tile_dpbf16ps(1, 4, 7);
      }
    }
    _tile_stored(0, out, kPanelColumns * 4);
    _tile_stored(1, out + kTileColumns, kPanelColumns * 4);
  }
}

inline void amx_gemm(const GemmCall& g, i64 panel_begin, i64 panel_end, i64 row_begin, i64 row_end, byte* scratch) {
  if (g.type == Type::kF32) return gemm(g, panel_begin, panel_end, row_begin, row_end, scratch);
  const i64 steps = padded_steps(g.type, g.k, kTileSteps), tiles = steps / kTileSteps;
  const i64 panel_bytes = steps * kStepBytes;
  float* results = f32(scratch);
  byte* rows_copy = scratch + kAmxRows * kPanelColumns * 4;
  const bool copy = g.k % 32 != 0;  // the last tile would reach beyond the rows
  i64 configured0 = -1, configured1 = -1;
  // A block of rows stays in L1 while it meets every panel of the range.
  for (i64 row = row_begin; row < row_end; row += kAmxRows) {
    const i64 rows = min_of(kAmxRows, row_end - row), rows0 = min_of(rows, kTileRows), rows1 = rows - rows0;
    if (rows0 != configured0 || rows1 != configured1) {
      configure(rows0, rows1);
      configured0 = rows0;
      configured1 = rows1;
    }
    const byte* a = g.a + row * g.lda * 2;
    i64 a_row_bytes = g.lda * 2;
    if (copy) {
      a_row_bytes = steps * 4;
      for (i64 r = 0; r < rows; ++r)
        prepare_a_row<OpBf16>(reinterpret_cast<const bf16*>(a) + r * g.lda, g.k, steps, rows_copy + r * a_row_bytes);
      a = rows_copy;
    }
    for (i64 panel = panel_begin; panel < panel_end; ++panel) {
      amx_tile(a, a_row_bytes, g.b + panel * panel_bytes, tiles, rows1, results);
      for (i64 r = 0; r < rows; ++r)
        for (int j = 0; j < kPanelVectors; ++j)
          finish_vector(g, row + r, panel * kPanelColumns + j * W, load(results + r * kPanelColumns + j * W));
    }
  }
  _tile_release();
}

R1_INLINE i64 amx_multiple(const PackCall& c) { return c.type == Type::kBF16 ? kTileSteps : 1; }
inline void amx_pack(const PackCall& c, i64 begin, i64 end) { pack_multiple(c, begin, end, amx_multiple(c)); }
inline void amx_pack_transposed(const PackCall& c, i64 begin, i64 end) { pack_transposed_multiple(c, begin, end, amx_multiple(c)); }

// A whole product on tiles, checked: some machines announce AMX and then fault or lack the tile state.
inline bool amx_trial() {
  alignas(64) bf16 a[16 * 32], b[16 * 32];
  alignas(64) float c[16 * 16];
  for (int i = 0; i < 512; ++i) {
    a[i] = 0x3f00;  // 0.5
    b[i] = 0x4080;  // 4
  }
  configure(16, 16);
  _tile_zero(0);
  _tile_loadd(4, a, 64);
  _tile_loadd(6, b, 64);
  _tile_dpbf16ps(0, 4, 6);
  _tile_stored(0, c, 64);
  _tile_release();
  for (float v : c)
    if (v != 64.f) return false;
  return true;
}

inline double amx_peak(Type type, i64 steps) {
  if (type == Type::kF32) return peak(type, steps);
  configure(16, 16);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
  for (i64 s = 0; s < steps; ++s) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_release();
  return 2.0 * static_cast<double>(steps) * 4 * 16 * 16 * 32;
}

}  // namespace r1::cpu::R1_ISA
