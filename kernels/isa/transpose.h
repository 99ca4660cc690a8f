// Private to kernels/: transposes of small blocks in registers.
#pragma once

#include "kernels/isa/simd.h"

namespace r1::cpu::R1_ISA {

// Exchanges the halves of every pair of rows at distance kStep.
template <int kStep, int... kLane> R1_INLINE void exchange(vu (&row)[W], Lanes<kLane...>) {
#pragma GCC unroll 16
  for (int i = 0; i < W; ++i) {
    if (i & kStep) continue;
    const vu a = row[i], b = row[i + kStep];
#if defined(__clang__)
    row[i] = __builtin_shufflevector(a, b, (kLane & kStep ? W + kLane - kStep : kLane)...);
    row[i + kStep] = __builtin_shufflevector(a, b, (kLane & kStep ? W + kLane : kLane + kStep)...);
#else
    row[i] = __builtin_shuffle(a, b, vi{(kLane & kStep ? W + kLane - kStep : kLane)...});
    row[i + kStep] = __builtin_shuffle(a, b, vi{(kLane & kStep ? W + kLane : kLane + kStep)...});
#endif
  }
}
R1_INLINE void transpose_rows(vu (&row)[W]) {
  exchange<1>(row, AllLanes{});
  exchange<2>(row, AllLanes{});
  if constexpr (W >= 8) exchange<4>(row, AllLanes{});
  if constexpr (W >= 16) exchange<8>(row, AllLanes{});
}

// W x W words.
R1_INLINE void transpose_block(const byte* in, i64 in_bytes, byte* out, i64 out_bytes) {
  vu row[W];
#pragma GCC unroll 16
  for (int i = 0; i < W; ++i) row[i] = load_bits<vu>(in + i * in_bytes);
  transpose_rows(row);
#pragma GCC unroll 16
  for (int i = 0; i < W; ++i) store_bits(out + i * out_bytes, row[i]);
}

// W rows of W floats, or of 2 W bf16, to their columns.
R1_INLINE void transpose_elements(const float* in, i64 ld, float* out, i64 out_ld) {
  transpose_block(reinterpret_cast<const byte*>(in), ld * 4, reinterpret_cast<byte*>(out), out_ld * 4);
}
R1_INLINE void transpose_elements(const bf16* in, i64 ld, bf16* out, i64 out_ld) {
  vu row[W];
#pragma GCC unroll 16
  for (int i = 0; i < W; ++i) row[i] = load_bits<vu>(in + i * ld);
  transpose_rows(row);
#pragma GCC unroll 16
  for (int i = 0; i < W; ++i) {  // a word holds two columns of one row
    store_bits(out + 2 * i * out_ld, narrow(row[i] & 0xffffu));
    store_bits(out + (2 * i + 1) * out_ld, narrow(row[i] >> 16));
  }
}

// 4 x 4 words.
typedef std::uint32_t u32x4 __attribute__((vector_size(16)));

R1_INLINE u32x4 load4(const byte* p) { return load_bits<u32x4>(p); }
template <int i, int j, int k, int l> R1_INLINE u32x4 shuffle(u32x4 a, u32x4 b) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, i, j, k, l);
#else
  typedef std::int32_t i32x4 __attribute__((vector_size(16)));
  return __builtin_shuffle(a, b, i32x4{i, j, k, l});
#endif
}
// out + r*out_stride = column r of four rows of four words.
R1_INLINE void transpose4(const byte* const in[4], byte* out, i64 out_stride) {
  const u32x4 a = load4(in[0]), b = load4(in[1]), c = load4(in[2]), d = load4(in[3]);
  const u32x4 ab0 = shuffle<0, 4, 1, 5>(a, b), ab1 = shuffle<2, 6, 3, 7>(a, b);
  const u32x4 cd0 = shuffle<0, 4, 1, 5>(c, d), cd1 = shuffle<2, 6, 3, 7>(c, d);
  store_bits(out, shuffle<0, 1, 4, 5>(ab0, cd0));
  store_bits(out + out_stride, shuffle<2, 3, 6, 7>(ab0, cd0));
  store_bits(out + 2 * out_stride, shuffle<0, 1, 4, 5>(ab1, cd1));
  store_bits(out + 3 * out_stride, shuffle<2, 3, 6, 7>(ab1, cd1));
}

}  // namespace r1::cpu::R1_ISA
