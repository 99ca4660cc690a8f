// Private to kernels/: bf16 products on AMX tiles. TDPBF16PS sums each output element over its own row and column only,
// 16 pairs an instruction, in a fixed order; every M, a single row included, goes through it, so bits do not depend on M.
#pragma once

#include "kernels/isa/gemm.h"
#include "kernels/isa/make_table.h"

namespace r1::cpu::R1_ISA {

inline constexpr i64 kTileSteps = 16;                    // pairs of k in a tile
inline constexpr i64 kTileRows = 16, kTileColumns = 16;  // of float32 results
inline constexpr i64 kTileBytes = 1024;
inline constexpr i64 kAmxRows = 2 * kTileRows;

R1_INLINE i64 padded_steps(Type type, i64 k, i64 multiple) {
  const i64 s = steps_of(type, k);
  return (s + multiple - 1) / multiple * multiple;
}

// The compiler's own tile intrinsics do not tell it which memory they read, so it may drop or delay the stores before
// them (GCC 12 did, in amx_peak); these do.
#define R1_TILE_LOAD(t, from, stride) \
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t ::"r"(from), "r"(static_cast<i64>(stride)) : "memory")
#define R1_TILE_STORE(t, to, stride) \
  __asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" ::"r"(to), "r"(static_cast<i64>(stride)) : "memory")

struct alignas(64) TileConfig {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t bytes_per_row[16] = {};
  std::uint8_t rows[16] = {};
};
static_assert(sizeof(TileConfig) == 64);

// Tiles 0..3: results [2 row halves][2 columns of tiles]; 4, 5: A's halves; 6, 7: B's. The second rows may be absent.
R1_INLINE void configure(i64 rows0, i64 rows1) {
  TileConfig c;
  for (int t = 0; t < 8; ++t) {
    c.bytes_per_row[t] = 64;
    c.rows[t] = 16;
  }
  const i64 second = rows1 > 0 ? rows1 : 1;
  c.rows[0] = c.rows[1] = c.rows[4] = static_cast<std::uint8_t>(rows0);
  c.rows[2] = c.rows[3] = c.rows[5] = static_cast<std::uint8_t>(second);
  __asm__ volatile("ldtilecfg %0" ::"m"(c));
}

// Layout of a bf16 panel: two halves of 32 columns; in a half, for each tile of k, two tiles of B, each whole: so a product
// reads memory from front to back.
R1_INLINE i64 amx_offset(i64 steps, i64 step, i64 column) {
  return column / 32 * steps * 128 + step / kTileSteps * 2 * kTileBytes + column % 32 / kTileColumns * kTileBytes +
         step % kTileSteps * 64 + column % kTileColumns * 4;
}

// Rows come in groups that stay in L2 while all columns pass. A product of many rows goes over k in slices, so that a slice
// of half a panel (18 KiB) and of a block's rows stay in L1; sums wait in memory meanwhile, unchanged.
inline constexpr i64 kAmxSliceSteps = 9 * kTileSteps, kAmxGroupRows = 512, kAmxGroupBytes = 1 << 20, kHalfColumns = 32;

// Sums [a group's rows][32 columns], then one block of A rows padded to whole tiles.
inline std::size_t amx_gemm_scratch(i64 k, i64 rows) {
  const i64 padded = (k + 31) / 32 * 32;
  const i64 amx_bytes = (min_of(rows, kAmxGroupRows) + kAmxRows) * kHalfColumns * 4 + kAmxRows * padded * 2;
  return static_cast<std::size_t>(max_of(amx_bytes, static_cast<i64>(gemm_scratch(k, rows))));
}

// Where a block of rows meets a slice of half a panel.
struct AmxWork {
  const byte* a = nullptr;
  i64 a_row_bytes = 0;
  const byte* b = nullptr;
  i64 tiles = 0;                // along k
  const float* from = nullptr;  // partial sums to go on from; null = 0
  float* to = nullptr;
  i64 to_row_bytes = 0;         // of both
  const byte* ahead = nullptr;  // memory to fetch into L2 meanwhile, so many lines a tile of k
  i64 ahead_lines = 0;
};

template <bool kTwo> inline void amx_tile(const AmxWork& w) {
  const byte* b = w.b;
  if (w.from == nullptr) {
    _tile_zero(0);
    _tile_zero(1);
    if constexpr (kTwo) {
      _tile_zero(2);
      _tile_zero(3);
    }
  } else {
    const byte* from = reinterpret_cast<const byte*>(w.from);
    R1_TILE_LOAD(0, from, w.to_row_bytes);
    R1_TILE_LOAD(1, from + 64, w.to_row_bytes);
    if constexpr (kTwo) {
      R1_TILE_LOAD(2, from + kTileRows * w.to_row_bytes, w.to_row_bytes);
      R1_TILE_LOAD(3, from + kTileRows * w.to_row_bytes + 64, w.to_row_bytes);
    }
  }
  const byte* a1 = w.a + kTileRows * w.a_row_bytes;
  for (i64 t = 0; t < w.tiles; ++t) {
    for (i64 line = t * w.ahead_lines; line < (t + 1) * w.ahead_lines; ++line) __builtin_prefetch(w.ahead + line * 64, 0, 2);
    R1_TILE_LOAD(4, w.a + t * 64, w.a_row_bytes);
    R1_TILE_LOAD(6, b + t * 2 * kTileBytes, 64);
    R1_TILE_LOAD(7, b + t * 2 * kTileBytes + kTileBytes, 64);
    if constexpr (kTwo) R1_TILE_LOAD(5, a1 + t * 64, w.a_row_bytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    if constexpr (kTwo) {
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  byte* to = reinterpret_cast<byte*>(w.to);
  R1_TILE_STORE(0, to, w.to_row_bytes);
  R1_TILE_STORE(1, to + 64, w.to_row_bytes);
  if constexpr (kTwo) {
    R1_TILE_STORE(2, to + kTileRows * w.to_row_bytes, w.to_row_bytes);
    R1_TILE_STORE(3, to + kTileRows * w.to_row_bytes + 64, w.to_row_bytes);
  }
}

// One half of one panel for one group of rows.
struct AmxHalf {
  const byte* b = nullptr;
  i64 b_bytes = 0;  // from this half to the next
  i64 steps = 0, slice = 0, column = 0;
  bool cold = false;      // nobody has fetched this half yet
  bool more = false;      // this thread goes on with the next half
  bool straight = false;  // sums go where the results belong
  float* sums = nullptr;
  byte* rows_copy = nullptr;
};

// What a block of rows fetches. Reading B is what few rows wait for, so its requests are spread over all blocks: each fetches
// its part of the next half. The first block of a cold half fetches its own tiles, a little ahead; a lone block always does.
inline constexpr i64 kAmxLines = 2 * kTileBytes / 64, kAmxOwnAhead = 6 * 2 * kTileBytes;

R1_INLINE void fetch_ahead(const AmxHalf& h, i64 block, i64 blocks, AmxWork* w) {
  const bool own = blocks == 1 || (h.cold && block == 0);
  if (own) {
    w->ahead = w->b + kAmxOwnAhead;
    w->ahead_lines = kAmxLines;
  } else if (h.more) {
    const i64 parts = blocks - h.cold, part = block - h.cold;
    w->ahead_lines = (kAmxLines + parts - 1) / parts;
    w->ahead = w->b + h.b_bytes + part * w->ahead_lines * w->tiles * 64;
    if (part * w->ahead_lines >= kAmxLines) w->ahead_lines = 0;
  }
}

inline void amx_half(const GemmCall& g, const AmxHalf& h, i64 row_begin, i64 row_end) {
  const bool copy = g.k % 32 != 0 && !g.a_padded;  // the last tile would reach beyond the rows
  i64 configured0 = -1, configured1 = -1;
  for (i64 s0 = 0; s0 < h.steps; s0 += h.slice) {
    const i64 here = min_of(h.slice, h.steps - s0);
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
                                h.rows_copy + r * here * 4);
        }
        w.a = h.rows_copy;
        w.a_row_bytes = here * 4;
      }
      w.b = h.b + s0 * 128;
      w.tiles = here / kTileSteps;
      w.to = h.straight ? reinterpret_cast<float*>(g.c) + row * g.ldc + h.column : h.sums + (row - row_begin) * kHalfColumns;
      w.to_row_bytes = h.straight ? g.ldc * 4 : kHalfColumns * 4;
      w.from = s0 == 0 ? nullptr : w.to;
      fetch_ahead(h, (row - row_begin) / kAmxRows, (row_end - row_begin + kAmxRows - 1) / kAmxRows, &w);
      if (rows1 > 0) amx_tile<true>(w);
      else amx_tile<false>(w);
      if (h.straight || s0 + here < h.steps) continue;
      for (i64 r = 0; r < rows; ++r)
        for (i64 j = 0; j < kHalfColumns; j += W) finish_vector(g, row + r, h.column + j, load(w.to + r * kHalfColumns + j));
    }
  }
}

// Work items are panels of float32, halves of panels of bf16.
inline void amx_gemm(const GemmCall& g, i64 begin, i64 end, i64 row_begin, i64 row_end, byte* scratch) {
  if (g.type == Type::kF32) return gemm(g, begin, end, row_begin, row_end, scratch);
  AmxHalf h;
  h.steps = padded_steps(g.type, g.k, kTileSteps);
  h.b_bytes = padded_steps(g.type, g.b_k, kTileSteps) * (kStepBytes / 2);
  // Slices pay where rows are many and lie in many different sets of L1.
  const bool spread = g.lda * 2 / 64 % 8 != 0;
  h.slice = spread && row_end - row_begin > 2 * kAmxRows ? kAmxSliceSteps : h.steps;
  h.sums = f32(scratch);
  h.rows_copy = scratch + (min_of(row_end - row_begin, kAmxGroupRows) + kAmxRows) * kHalfColumns * 4;
  const bool plain = g.out_type == Type::kF32 && !g.add && g.bias == nullptr;
  const i64 group = max_of(kAmxRows, min_of(kAmxGroupRows, kAmxGroupBytes / (h.steps * 4) / kAmxRows * kAmxRows));
  for (i64 row = row_begin; row < row_end; row += group) {
    for (i64 half = begin; half < end; ++half) {
      h.column = half * kHalfColumns;
      h.b = g.b + half * h.b_bytes + g.k_first / 2 * 128;
      h.straight = plain && h.column + kHalfColumns <= g.n;
      h.cold = half == begin;
      h.more = half + 1 < end;
      amx_half(g, h, row, min_of(row_end, row + group));
    }
  }
  _tile_release();
}

inline void amx_pack(const PackCall& c, i64 panel_begin, i64 panel_end) {
  if (c.type == Type::kF32) return pack(c, panel_begin, panel_end);
  const i64 steps = padded_steps(c.type, c.k, kTileSteps), whole_steps = c.k / 2 / kTileSteps * kTileSteps;
  for (i64 panel = panel_begin; panel < panel_end; ++panel) {
    byte* out = c.out + panel * steps * kStepBytes;
    const i64 n0 = panel * kPanelColumns;
    const i64 whole_columns = max_of(0, min_of(c.n - n0, kPanelColumns)) / kTileColumns * kTileColumns;
    for (i64 j = 0; j < whole_columns; j += kTileColumns)
      for (i64 s = 0; s < whole_steps; s += kTileSteps)
        transpose_block(c.b + (n0 + j) * c.ld * 2 + s * 4, c.ld * 2, out + amx_offset(steps, s, j), 64);
    for (i64 s = 0; s < steps; ++s) {
      for (i64 j = s < whole_steps ? whole_columns : 0; j < kPanelColumns; ++j) {
        const std::uint32_t w = packed_word(c, n0 + j, s);
        __builtin_memcpy(out + amx_offset(steps, s, j), &w, 4);
      }
    }
  }
}

inline void amx_pack_transposed(const PackCall& c, i64 panel_begin, i64 panel_end) {
  if (c.type == Type::kF32) return pack_transposed(c, panel_begin, panel_end);
  const i64 steps = padded_steps(c.type, c.k, kTileSteps);
  constexpr i64 kTogether = 8;  // panels: whole lines of the rows are read once, in long runs
  for (i64 first = panel_begin; first < panel_end; first += kTogether) {
    const i64 last = min_of(panel_end, first + kTogether);
    for (i64 s = 0; s < steps; ++s) {
      for (i64 panel = first; panel < last; ++panel) {
        alignas(64) byte line[kStepBytes];
        pack_transposed_step(c, s, panel * kPanelColumns, line);
        for (i64 j = 0; j < kPanelColumns; j += kTileColumns)
          __builtin_memcpy(c.out + panel * steps * kStepBytes + amx_offset(steps, s, j), line + j * 4, 64);
      }
    }
  }
}

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
  R1_TILE_LOAD(4, a, 64);
  R1_TILE_LOAD(6, b, 64);
  _tile_dpbf16ps(0, 4, 6);
  R1_TILE_STORE(0, c, 64);
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
