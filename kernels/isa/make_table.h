// Private to kernels/: fills an instruction set's table. Included last by isa_*.cpp, inside no namespace.
#pragma once

#include "kernels/isa/attention.h"
#include "kernels/isa/attention_backward.h"
#include "kernels/isa/gemm.h"
#include "kernels/isa/optimizer.h"
#include "kernels/isa/rows.h"
#include "kernels/isa/vocab.h"

namespace r1::cpu::R1_ISA {

// As many independent chains as the product's tile has, without loads.
template <class Op> inline double peak_of(i64 steps, int macs_per_lane) {
  constexpr int kRows = 6, kVectors = W == 16 ? 4 : 2;
  Acc<kRows, kVectors> acc;
  acc.clear();
  const byte zeros[64] = {};
  typename Op::A a = Op::a(zeros, 0);
  typename Op::B b = Op::b(zeros, 0);
#if defined(__x86_64__)
  // Unknown to the compiler, so that it neither computes the loop in advance nor merges equal chains.
  __asm__ volatile("" : "+v"(a), "+v"(b));
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int j = 0; j < kVectors; ++j) __asm__ volatile("" : "+v"(acc.v[r][j]));
#endif
  for (i64 s = 0; s < steps; ++s) {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
      for (int j = 0; j < kVectors; ++j) acc.v[r][j] = Op::mac(acc.v[r][j], a, b);
  }
  vf sum = zero();
  for (int r = 0; r < kRows; ++r)
    for (int j = 0; j < kVectors; ++j) sum = sum + acc.v[r][j];
  // The sum is 0; adding it keeps the loop alive.
  return 2.0 * static_cast<double>(steps) * kRows * kVectors * W * macs_per_lane + sum_lanes(sum);
}
inline double peak(Type type, i64 steps) {
  return type == Type::kF32 ? peak_of<OpF32>(steps, 1) : peak_of<OpBf16>(steps, OpBf16::kABytes == 4 ? 2 : 1);
}

constexpr Table make_table(Isa isa, bool (*trial)()) {
  Table t{};
  t.isa = isa;
  t.trial = trial;
  t.peak = peak;
  t.panel_columns = kPanelColumns;
  t.step_multiple = 1;
  t.row_unit = 48;  // a multiple of the tile heights 4 and 6
  t.row_cut = 48;
  t.bf16_columns = kPanelColumns;
  t.gemm_scratch = gemm_scratch;
  t.gemm = gemm;
  t.pack = pack;
  t.pack_transposed = pack_transposed;
  t.transpose = transpose;
  t.to_bf16 = to_bf16_range;
  t.to_f32 = to_f32_range;
  t.rms_norm = rms_norm;
  t.rms_norm_heads = rms_norm_heads;
  t.rms_norm_backward = rms_norm_backward;
  t.rms_norm_heads_backward = rms_norm_heads_backward;
  t.rope = rope;
  t.swiglu = swiglu;
  t.swiglu_backward = swiglu_backward;
  t.write_kv = write_kv;
  t.attention_scratch = attention_scratch;
  t.attention = attention;
  t.attention_backward_scratch = attention_backward_scratch;
  t.attention_backward = attention_backward;
  t.sum_heads = sum_heads;
  t.row_max = row_max;
  t.exp_sum = exp_sum;
  t.exp_values = exp_values;
  t.first_equal = first_equal;
  t.collect = collect;
  t.row_logprob_backward = row_logprob_backward;
  t.adamw = adamw;
  t.sum_of_squares = sum_of_squares;
  t.first_non_finite = first_non_finite;
  return t;
}

// 15 + 8 * 0.5 * 4 = 31 by this set's product: proof that its instructions run.
inline bool trial() {
  bf16 a[8], b[8 * W];
  for (int i = 0; i < 8; ++i) a[i] = 0x3f00;        // 0.5
  for (int i = 0; i < 8 * W; ++i) b[i] = 0x4080;    // 4
  byte row[8 * 4];
  prepare_a_row<OpBf16>(a, 8, 4, row);
  Acc<1, 1> acc;
  acc.v[0][0] = splat(15.f);
  multiply<OpBf16, 1, 1>(4, row, 0, Adjacent{reinterpret_cast<const byte*>(b)}, W * 4, acc);
  for (int i = 0; i < W; ++i)
    if (acc.v[0][0][i] != 31.f) return false;
  return true;
}

}  // namespace r1::cpu::R1_ISA
