// Private to kernels/: what one instruction set offers. Each kernels/isa_*.cpp is compiled with its own flags and
// defines one table; dispatch.cpp picks one at run time. Every function works on a range of its output and knows
// nothing of threads: the callers in kernels/*.cpp split the work. An ISA file must not emit shared (weak) symbols,
// or the linker could hand its wide instructions to a narrower CPU; hence no std templates here (kernels_symbols test).
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu.h"

namespace r1::cpu {

struct GemmCall {
  const std::byte* a = nullptr;
  std::int64_t m = 0, lda = 0, k = 0, n = 0;  // lda, ldc in elements
  const std::byte* b = nullptr;               // panels, from the first column on
  std::int64_t b_k = 0, k_first = 0;          // depth of the panels, and where in it the k begin
  std::byte* c = nullptr;
  std::int64_t ldc = 0;
  Type type = Type::kF32, out_type = Type::kF32;
  bool add = false;
  const std::byte* bias = nullptr;
  bool a_padded = false;
};

struct PackCall {
  const std::byte* b = nullptr;
  std::int64_t ld = 0, n = 0, k = 0;
  Type type = Type::kF32;
  std::byte* out = nullptr;
};

struct AttentionCall {
  AttentionShape shape;
  const std::byte* q = nullptr;
  std::int64_t ld = 0;
  const KvRow* rows = nullptr;
  std::size_t layer_offset = 0;
  std::byte* out = nullptr;
  std::int64_t out_ld = 0;
  float* lse = nullptr;
};

struct WriteKvCall {
  AttentionShape shape;
  const std::byte* k = nullptr;
  const std::byte* v = nullptr;
  std::int64_t ld = 0;
  const KvRow* rows = nullptr;
  std::size_t layer_offset = 0;
};

struct AttentionBackwardCall {
  AttentionShape shape;
  const std::byte *q = nullptr, *k = nullptr, *v = nullptr, *out = nullptr, *d_out = nullptr;
  std::int64_t ld = 0, out_ld = 0, d_out_ld = 0, d_ld = 0;
  const float* lse = nullptr;
  std::byte *dq = nullptr, *dk = nullptr, *dv = nullptr;
};

struct Table {
  Isa isa;
  bool (*trial)();  // executes this set's instructions once; false or a fault = not usable
  // For benchmarks: runs the product's inner instruction on registers only; returns the floating-point operations done.
  double (*peak)(Type, std::int64_t steps);

  // Matrix product. Panels of `panel_columns` columns; within a panel one step (a k of float32, a pair of k of bf16)
  // holds 4 bytes a column; the number of steps is a multiple of step_multiple. The order inside a panel is the set's own.
  std::int64_t panel_columns;
  std::int64_t step_multiple;
  std::int64_t row_unit;      // rows are cut at multiples of this
  std::int64_t row_cut;       // and a part has at least this many: B comes from memory once for every part
  std::int64_t bf16_columns;  // of a work item of a bf16 product; of a float32 product it is a panel
  std::size_t (*gemm_scratch)(std::int64_t k, std::int64_t rows);  // bytes a range call over so many rows needs
  void (*gemm)(const GemmCall&, std::int64_t item_begin, std::int64_t item_end, std::int64_t row_begin, std::int64_t row_end,
               std::byte* scratch);
  void (*pack)(const PackCall&, std::int64_t panel_begin, std::int64_t panel_end);
  void (*pack_transposed)(const PackCall&, std::int64_t panel_begin, std::int64_t panel_end);
  // Rows [begin, end) of `out` (= columns of `in`).
  void (*transpose)(const std::byte* in, std::int64_t rows, std::int64_t ld, std::byte* out, std::int64_t out_ld, Type type,
                    std::int64_t begin, std::int64_t end);

  void (*to_bf16)(const float* in, bf16* out, std::int64_t n);
  void (*to_f32)(const bf16* in, float* out, std::int64_t n);

  void (*rms_norm)(const float* x, std::int64_t m, std::int64_t d, const void* g, float eps, void* y, Type type, float* rstd, Gain);
  void (*rms_norm_heads)(const void* x, std::int64_t m, std::int64_t heads, std::int64_t d, std::int64_t ld, const void* g,
                         float eps, void* y, std::int64_t y_ld, Type type, float* rstd, Gain);
  // dg_part [d] is added to.
  void (*rms_norm_backward)(const float* x, const void* g, const float* rstd, const void* dy, Type type, std::int64_t m,
                            std::int64_t d, float* dx, float* dg_part, Gain);
  void (*rms_norm_heads_backward)(const void* x, std::int64_t ld, const void* g, const float* rstd, const void* dy,
                                  std::int64_t dy_ld, Type type, std::int64_t m, std::int64_t heads, std::int64_t d, void* dx,
                                  std::int64_t dx_ld, float* dg_part, Gain);
  void (*rope)(void* x, std::int64_t m, std::int64_t heads, std::int64_t d, std::int64_t ld, const std::int32_t* positions,
               const float* cos, const float* sin, float sign, Type type);
  void (*swiglu)(const void* gate_up, std::int64_t m, std::int64_t f, void* out, Type type, Activation);
  void (*swiglu_backward)(const void* gate_up, const void* dy, std::int64_t m, std::int64_t f, void* d_gate_up, Type type, Activation);

  void (*write_kv)(const WriteKvCall&, std::int64_t begin, std::int64_t end);
  // Rows [begin, begin + count) for one kv head; the first `joint` block pointers of all rows are equal, and those
  // blocks lie wholly before each row's end; same_sequence: all rows have the same table of blocks.
  std::size_t (*attention_scratch)(const AttentionShape&, std::int64_t count, std::int64_t longest_row);
  void (*attention)(const AttentionCall&, std::int64_t begin, std::int64_t count, std::int64_t joint, bool same_sequence,
                    std::int64_t kv_head, std::byte* scratch);
  // A family (a prefix and its sharers, or a lone sequence) for one query head: dq, and this head's part of dk and dv
  // [family rows][head_dim] float32.
  std::size_t (*attention_backward_scratch)(const AttentionShape&, std::int64_t family_rows);
  void (*attention_backward)(const AttentionBackwardCall&, const AttentionSequence* sequences, std::int64_t count,
                             std::int64_t head, float* dk, float* dv, std::byte* scratch);
  // out[rows][ld] = the sum of n parts [rows][d] that lie part_stride apart.
  void (*sum_heads)(const float* parts, std::int64_t n, std::int64_t part_stride, std::int64_t rows, std::int64_t d, void* out,
                    std::int64_t ld, Type type);

  float (*row_max)(const float* x, std::int64_t n);
  // One chunk of at most kVocabChunk logits: sum of e = exp(x * inv_t - max) and, if weighted is not null, of e * (x * inv_t - max).
  double (*exp_sum)(const float* x, std::int64_t n, float inv_t, float max, double* weighted);
  // out[i] = exp(x[i] * inv_t - max), the terms of exp_sum.
  void (*exp_values)(const float* x, std::int64_t n, float inv_t, float max, float* out);
  std::int64_t (*first_equal)(const float* x, std::int64_t n, float value);  // n if none
  // Ids of x >= threshold in ascending order; returns how many (out has room for n).
  std::int64_t (*collect)(const float* x, std::int64_t n, float threshold, std::int32_t* out);
  void (*row_logprob_backward)(const float* x, std::int64_t v, float inv_t, float logsumexp, float entropy, std::int64_t target,
                               float c1, float c2, void* out, Type type);

  void (*adamw)(float* p, float* m, float* v, const float* g, bf16* live, std::int64_t n, const AdamWArgs&);
  double (*sum_of_squares)(const float* x, std::int64_t n);
  std::int64_t (*first_non_finite)(const float* x, std::int64_t n);  // -1 = none
};

// Logits are summed in chunks of this many, chunk sums in float64: the inner unit of the sampler's search.
inline constexpr std::int64_t kVocabChunk = 1024;

extern const Table kPortableTable;
#if defined(__x86_64__)
extern const Table kAvx2Table, kAvx512Table, kAvx512Bf16Table, kAmxTable;
#endif

const Table& table();  // of isa()

}  // namespace r1::cpu
