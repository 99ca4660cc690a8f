// Private to kernels/: the layout of packed panels, packing, and transposes.
#pragma once

#include "kernels/isa/transpose.h"
#include "kernels/table.h"

namespace r1::cpu::R1_ISA {

// Panel layout: [panel][step][column] of 4 bytes.
inline constexpr int kPanelVectors = 4;
inline constexpr i64 kPanelColumns = kPanelVectors * W;
inline constexpr i64 kStepBytes = kPanelColumns * 4;

R1_INLINE i64 steps_of(Type type, i64 k) { return type == Type::kBF16 ? (k + 1) / 2 : k; }

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

inline void pack(const PackCall& c, i64 panel_begin, i64 panel_end) {
  const i64 steps = steps_of(c.type, c.k);
  const i64 whole_steps = (c.type == Type::kBF16 ? c.k / 2 : c.k) / W * W;
  const i64 row_bytes = c.ld * (c.type == Type::kBF16 ? 2 : 4);
  for (i64 panel = panel_begin; panel < panel_end; ++panel) {
    byte* out = c.out + panel * steps * kStepBytes;
    const i64 n0 = panel * kPanelColumns;
    const i64 whole_columns = max_of(0, min_of(c.n - n0, kPanelColumns)) / W * W;
    for (i64 s = 0; s < whole_steps; s += W)
      for (i64 j = 0; j < whole_columns; j += W)
        transpose_block(c.b + (n0 + j) * row_bytes + s * 4, row_bytes, out + s * kStepBytes + j * 4, kStepBytes);
    for (i64 s = 0; s < steps; ++s) {
      for (i64 j = s < whole_steps ? whole_columns : 0; j < kPanelColumns; ++j) {
        const std::uint32_t w = packed_word(c, n0 + j, s);
        __builtin_memcpy(out + s * kStepBytes + j * 4, &w, 4);
      }
    }
  }
}

// One step of one panel.
R1_INLINE void pack_transposed_step(const PackCall& c, i64 s, i64 n0, byte* out) {
  const i64 columns = min_of(c.n - n0, kPanelColumns);
  if (c.type == Type::kF32) {
    const i64 have = s < c.k ? columns : 0;
    if (have > 0) __builtin_memcpy(out, c.b + (s * c.ld + n0) * 4, static_cast<std::size_t>(have) * 4);
    if (have < kPanelColumns) __builtin_memset(out + have * 4, 0, static_cast<std::size_t>(kPanelColumns - have) * 4);
    return;
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

inline void pack_transposed(const PackCall& c, i64 panel_begin, i64 panel_end) {
  const i64 steps = steps_of(c.type, c.k);
  constexpr i64 kTogether = 8;  // panels: whole lines of the rows are read once, in long runs
  for (i64 first = panel_begin; first < panel_end; first += kTogether) {
    const i64 last = min_of(panel_end, first + kTogether);
    for (i64 s = 0; s < steps; ++s)
      for (i64 panel = first; panel < last; ++panel)
        pack_transposed_step(c, s, panel * kPanelColumns, c.out + (panel * steps + s) * kStepBytes);
  }
}

// Rows [begin, end) of out = columns of in.
template <class T>
inline void transpose_typed(const T* in, i64 rows, i64 ld, T* out, i64 out_ld, i64 begin, i64 end) {
  constexpr i64 kWide = W * 4 / static_cast<i64>(sizeof(T));  // columns that W words hold
  const i64 whole_rows = rows / W * W, whole_end = begin + (end - begin) / kWide * kWide;
  for (i64 c = begin; c < whole_end; c += kWide)
    for (i64 r = 0; r < whole_rows; r += W) transpose_elements(in + r * ld + c, ld, out + c * out_ld + r, out_ld);
  for (i64 c = begin; c < end; ++c)
    for (i64 r = c < whole_end ? whole_rows : 0; r < rows; ++r) out[c * out_ld + r] = in[r * ld + c];
}

inline void transpose(const byte* in, i64 rows, i64 ld, byte* out, i64 out_ld, Type type, i64 begin, i64 end) {
  if (type == Type::kBF16) {
    transpose_typed(reinterpret_cast<const bf16*>(in), rows, ld, reinterpret_cast<bf16*>(out), out_ld, begin, end);
  } else {
    transpose_typed(reinterpret_cast<const float*>(in), rows, ld, reinterpret_cast<float*>(out), out_ld, begin, end);
  }
}

}  // namespace r1::cpu::R1_ISA
