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

// Tiles 0..3: results [2 row halves][2 column halves]; 4, 5: A's halves; 6, 7: B's halves. The second rows may be absent.
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

// Results [rows][64 columns], then one block of A rows padded to whole tiles.
inline std::size_t amx_gemm_scratch(i64 k, i64 rows) {
  const i64 padded = (k + 31) / 32 * 32;
  const i64 amx_bytes = (rows + kAmxRows) * kPanelColumns * 4 + kAmxRows * padded * 2;
  return static_cast<std::size_t>(max_of(amx_bytes, static_cast<i64>(gemm_scratch(k, rows))));
}

// Where a block of rows meets a slice of a panel.
struct AmxWork {
  const byte* a = nullptr;
  i64 a_row_bytes = 0;
  const byte* b = nullptr;
  i64 tiles = 0;              // along k
  bool first = true;          // start from 0, else from `results`
  float* results = nullptr;   // [rows][kPanelColumns]
  const byte* ahead = nullptr;  // what comes next in memory; null = fetch nothing
};

template <bool kTwo> inline void amx_tile(const AmxWork& w) {
  constexpr i64 kTileStride = kTileSteps * kStepBytes;  // bytes of B between tiles along k
  constexpr i64 kRow = kPanelColumns * 4;
  for (i64 half = 0; half < 2; ++half) {
    const byte* b = w.b + half * 2 * kTileColumns * 4;
    float* out = w.results + half * 2 * kTileColumns;
    float* out1 = out + kTileRows * kPanelColumns;
    if (w.first) {
      _tile_zero(0);
      _tile_zero(1);
      if constexpr (kTwo) {
        _tile_zero(2);
        _tile_zero(3);
      }
    } else {
      _tile_loadd(0, out, kRow);
      _tile_loadd(1, out + kTileColumns, kRow);
      if constexpr (kTwo) {
        _tile_loadd(2, out1, kRow);
        _tile_loadd(3, out1 + kTileColumns, kRow);
      }
    }
    const byte* ahead = w.ahead == nullptr ? nullptr : w.ahead + half * w.tiles * (kTileStride / 2);
    for (i64 t = 0; t < w.tiles; ++t) {
      if (ahead != nullptr)
        for (i64 line = 0; line < kTileStride / 128; ++line) __builtin_prefetch(ahead + t * (kTileStride / 2) + line * 64, 0, 2);
      _tile_loadd(4, w.a + t * 64, w.a_row_bytes);
      _tile_loadd(6, b + t * kTileStride, kStepBytes);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(7, b + t * kTileStride + kTileColumns * 4, kStepBytes);
      _tile_dpbf16ps(1, 4, 7);
      if constexpr (kTwo) {
        _tile_loadd(5, w.a + kTileRows * w.a_row_bytes + t * 64, w.a_row_bytes);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
      }
    }
    _tile_stored(0, out, kRow);
    _tile_stored(1, out + kTileColumns, kRow);
    if constexpr (kTwo) {
      _tile_stored(2, out1, kRow);
      _tile_stored(3, out1 + kTileColumns, kRow);
    }
  }
}

inline void amx_gemm(const GemmCall& g, i64 panel_begin, i64 panel_end, i64 row_begin, i64 row_end, byte* scratch) {
  if (g.type == Type::kF32) return gemm(g, panel_begin, panel_end, row_begin, row_end, scratch);
  const i64 steps = padded_steps(g.type, g.k, kTileSteps), all_rows = row_end - row_begin;
  float* results = f32(scratch);
  byte* rows_copy = scratch + (all_rows + kAmxRows) * kPanelColumns * 4;
  const bool copy = g.k % 32 != 0;  // the last tile would reach beyond the rows
  const i64 slice = all_rows > kAmxRows && steps > 2 * kSliceSteps ? kSliceSteps : steps;
  static_assert(kSliceSteps % kTileSteps == 0);
  i64 configured0 = -1, configured1 = -1;
  for (i64 panel = panel_begin; panel < panel_end; ++panel) {
    for (i64 s0 = 0; s0 < steps; s0 += slice) {
      const i64 here = min_of(slice, steps - s0);
      for (i64 row = row_begin; row < row_end; row += kAmxRows) {
        const i64 rows = min_of(kAmxRows, row_end - row), rows0 = min_of(rows, kTileRows), rows1 = rows - rows0;
        if (rows0 != configured0 || rows1 != configured1) {
          configure(rows0, rows1);
          configured0 = rows0;
          configured1 = rows1;
        }
        AmxWork w;
        w.a_row_bytes = g.lda * 2;
        w.a = g.a + row * w.a_row_bytes + s0 * 4;
        if (copy) {
          for (i64 r = 0; r < rows; ++r) {
            prepare_a_row<OpBf16>(reinterpret_cast<const bf16*>(w.a + r * w.a_row_bytes), min_of(g.k - 2 * s0, 2 * here), here,
                                  rows_copy + r * here * 4);
          }
          w.a = rows_copy;
          w.a_row_bytes = here * 4;
        }
        w.b = g.b + (panel * steps + s0) * kStepBytes;
        w.tiles = here / kTileSteps;
        w.first = s0 == 0;
        w.results = results + (row - row_begin) * kPanelColumns;
        const bool more = panel + 1 < panel_end || s0 + here < steps;
        if (row == row_begin && more) w.ahead = w.b + here * kStepBytes;
        if (rows1 > 0) amx_tile<true>(w);
        else amx_tile<false>(w);
        if (s0 + here < steps) continue;
        for (i64 r = 0; r < rows; ++r)
          for (int j = 0; j < kPanelVectors; ++j)
            finish_vector(g, row + r, panel * kPanelColumns + j * W, load(w.results + r * kPanelColumns + j * W));
      }
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
