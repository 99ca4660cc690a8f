// Tensor-core pieces that the attention kernels share: tiles in shared memory, products of 16 rows, the softmax of one block, and
// the merge of two chunks. Every forward kernel goes through these, so a row's bits do not depend on the kernel.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>

#include "kernels/gpu/attention.h"
#include "kernels/gpu/common.cuh"
#include "kernels/gpu/kv_layout.h"

namespace r1::gpu {

__device__ __forceinline__ std::uint32_t smem_address(const void* p) { return static_cast<std::uint32_t>(__cvta_generic_to_shared(p)); }

// 16 bytes from global to shared memory; zeros if !valid (then src is not read).
__device__ __forceinline__ void copy_async16(void* to, const void* from, bool valid = true) {
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(smem_address(to)), "l"(from), "r"(bytes));
}
__device__ __forceinline__ void copy_commit() { asm volatile("cp.async.commit_group;\n"); }
template <int N>
__device__ __forceinline__ void copy_wait() { asm volatile("cp.async.wait_group %0;\n" ::"n"(N)); }

__device__ __forceinline__ void load_matrix_x4(std::uint32_t (&r)[4], const bf16* p) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(smem_address(p)));
}
__device__ __forceinline__ void load_matrix_x4_trans(std::uint32_t (&r)[4], const bf16* p) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(smem_address(p)));
}
// c [16][8] += a [16][16] b [16][8], float32 sums.
__device__ __forceinline__ void mma(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__device__ __forceinline__ std::uint32_t pack_bf16(float low, float high) {
  const __nv_bfloat162 v = __floats2bfloat162_rn(low, high);
  return reinterpret_cast<const std::uint32_t&>(v);
}
__device__ __forceinline__ float quad_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
  return fmaxf(x, __shfl_xor_sync(~0u, x, 2));
}
__device__ __forceinline__ float quad_sum(float x) {
  x = __fadd_rn(x, __shfl_xor_sync(~0u, x, 1));
  return __fadd_rn(x, __shfl_xor_sync(~0u, x, 2));
}

// A operand fragments of 16 rows [16][HD] in a tile of kv_offset() layout that begins at row `row`.
template <int HD>
__device__ __forceinline__ void load_a(std::uint32_t (&a)[4], const bf16* tile, int row, int column, int lane) {
  load_matrix_x4(a, tile + kv_offset(row + (lane & 15), column + (lane >> 4) * 8, HD));
}
// B operand fragments for eight columns n = tile rows [row, row + 8) and two k-steps: tile columns [column, column + 32).
// b[0], b[1] serve the first 16, b[2], b[3] the second.
template <int HD>
__device__ __forceinline__ void load_b(std::uint32_t (&b)[4], const bf16* tile, int row, int column, int lane) {
  load_matrix_x4(b, tile + kv_offset(row + (lane & 7), column + (lane >> 3) * 8, HD));
}
// B operand fragments for k = tile rows [row, row + 16) and n = tile columns [column, column + 16): b[0], b[1] the first eight.
template <int HD>
__device__ __forceinline__ void load_b_trans(std::uint32_t (&b)[4], const bf16* tile, int row, int column, int lane) {
  load_matrix_x4_trans(b, tile + kv_offset(row + (lane & 15), column + (lane >> 4) * 8, HD));
}

// s [16][8 N] = a-fragments [16][HD] x (N * 8 rows of tile [64][HD] from `row` on)^T.
template <int HD, int N = 8>
__device__ __forceinline__ void product_rows(float (&s)[N][4], const std::uint32_t (&q)[HD / 16][4], const bf16* tile, int lane, int row = 0) {
#pragma unroll
  for (int n = 0; n < N; ++n) {
    s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0.f;
#pragma unroll
    for (int k = 0; k < HD / 32; ++k) {
      std::uint32_t b[4];
      load_b<HD>(b, tile, row + n * 8, k * 32, lane);
      mma(s[n], q[2 * k], b[0], b[1]);
      mma(s[n], q[2 * k + 1], b[2], b[3]);
    }
  }
}

// o [16][HD] += p [16][64] x tile [64][HD], p given as accumulators of a product.
template <int HD>
__device__ __forceinline__ void product_columns(float (&o)[HD / 8][4], const std::uint32_t (&p)[4][4], const bf16* tile, int lane) {
#pragma unroll
  for (int k = 0; k < 4; ++k)
#pragma unroll
    for (int n = 0; n < HD / 16; ++n) {
      std::uint32_t b[4];
      load_b_trans<HD>(b, tile, k * 16, n * 16, lane);
      mma(o[2 * n], p[k], b[0], b[1]);
      mma(o[2 * n + 1], p[k], b[2], b[3]);
    }
}
// Accumulators of two neighbouring tiles of eight columns, as the A operand of 16 k.
__device__ __forceinline__ void accumulators_to_a(std::uint32_t (&a)[4], const float (&s0)[4], const float (&s1)[4]) {
  a[0] = pack_bf16(s0[0], s0[1]);
  a[1] = pack_bf16(s0[2], s0[3]);
  a[2] = pack_bf16(s1[0], s1[1]);
  a[3] = pack_bf16(s1[2], s1[3]);
}
__device__ __forceinline__ void accumulators_to_a(std::uint32_t (&a)[4][4], const float (&s)[8][4]) {
#pragma unroll
  for (int k = 0; k < 4; ++k) accumulators_to_a(a[k], s[2 * k], s[2 * k + 1]);
}

// ---- The softmax of a block, in steps: warps may share a block's columns between them. This thread's rows are lane / 4 and lane / 4 + 8.
// 1. Scores of keys at or beyond limit[row] become -inf; top = this thread's largest. s: tiles of eight keys from key `first` on.
template <int N>
__device__ __forceinline__ void mask_scores(float (&s)[N][4], float (&top)[2], const int (&limit)[2], int first, int lane) {
  top[0] = top[1] = -INFINITY;
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      if (first + n * 8 + (lane & 3) * 2 + (e & 1) >= limit[e >> 1]) s[n][e] = -INFINITY;
      top[e >> 1] = fmaxf(top[e >> 1], s[n][e]);
    }
}
// 2. The row's maximum moves to that of the block; returns the factor of what was summed before. sl2 = scale * log2(e).
__device__ __forceinline__ float move_maximum(float& m, float top, float sl2, float& shift) {
  const float next = fmaxf(m, top);
  shift = next == -INFINITY ? 0.f : __fmul_rn(next, sl2);
  // Not fused: where the maximum stays, the factor has to be exactly 1, so that a block of masked keys changes nothing.
  const float scale = exp2_fast(__fsub_rn(__fmul_rn(m, sl2), shift));
  m = next;
  return scale;
}
// 3. Scores of half a block, four tiles, become weights; sum = this thread's, in order. The block's sum is that of its halves.
__device__ __forceinline__ void exponentials(float (&s)[4], const float (&shift)[2], float sl2, float (&sum)[2]) {
#pragma unroll
  for (int e = 0; e < 4; ++e) {
    s[e] = exp2_fast(__fmaf_rn(s[e], sl2, -shift[e >> 1]));
    sum[e >> 1] = __fadd_rn(sum[e >> 1], s[e]);
  }
}
__device__ __forceinline__ float add_block(float l, float scale, float first_half, float second_half) {
  return __fmaf_rn(l, scale, __fadd_rn(first_half, second_half));
}
// Two chunks, `m1`, `l1` before `m2`, `l2`: the factors of their sums; m1 and l1 become the merge's.
__device__ __forceinline__ void merge_rows(float& m1, float& l1, float m2, float l2, float sl2, float& first, float& second) {
  const float top = fmaxf(m1, m2);
  const float shift = top == -INFINITY ? 0.f : __fmul_rn(top, sl2);
  first = exp2_fast(__fsub_rn(__fmul_rn(m1, sl2), shift));
  second = exp2_fast(__fsub_rn(__fmul_rn(m2, sl2), shift));
  m1 = top;
  l1 = __fmaf_rn(l2, second, __fmul_rn(l1, first));
}
__device__ __forceinline__ float merge_sums(float o1, float first, float o2, float second) { return __fmaf_rn(o2, second, __fmul_rn(o1, first)); }
// The results of a row: two columns of out, and the log-sum-exp of the scaled scores in nats.
__device__ __forceinline__ void store_pair(bf16* out, float o0, float o1, float inverse) {
  *reinterpret_cast<std::uint32_t*>(out) = pack_bf16(__fmul_rn(o0, inverse), __fmul_rn(o1, inverse));
}
__device__ __forceinline__ float log_sum(float m, float l, float scale) { return __fmaf_rn(m, scale, logf(l)); }

// Running softmax of 16 rows by one warp; l is the thread's own share until finish_chunk().
template <int HD>
struct SoftmaxState {
  float m[2], l[2];
  float o[HD / 8][4];

  __device__ __forceinline__ void reset() {
    m[0] = m[1] = -INFINITY;
    l[0] = l[1] = 0.f;
#pragma unroll
    for (int n = 0; n < HD / 8; ++n) o[n][0] = o[n][1] = o[n][2] = o[n][3] = 0.f;
  }

  // One block: keys and values [64][HD]; row i sees the first limit[i] of them.
  __device__ __forceinline__ void block(const std::uint32_t (&q)[HD / 16][4], const bf16* keys, const bf16* values, const int (&limit)[2],
                                        float sl2, int lane) {
    float s[8][4];
    product_rows<HD>(s, q, keys, lane);
    float top[2], shift[2], scale[2], half[2][2] = {};
    mask_scores(s, top, limit, 0, lane);
#pragma unroll
    for (int i = 0; i < 2; ++i) scale[i] = move_maximum(m[i], quad_max(top[i]), sl2, shift[i]);
#pragma unroll
    for (int n = 0; n < 8; ++n) exponentials(s[n], shift, sl2, half[n / 4]);
#pragma unroll
    for (int i = 0; i < 2; ++i) l[i] = add_block(l[i], scale[i], half[0][i], half[1][i]);
#pragma unroll
    for (int n = 0; n < HD / 8; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) o[n][e] = __fmul_rn(o[n][e], scale[e >> 1]);
    std::uint32_t p[4][4];
    accumulators_to_a(p, s);
    product_columns<HD>(o, p, values, lane);
  }

  __device__ __forceinline__ void finish_chunk() {
    l[0] = quad_sum(l[0]);
    l[1] = quad_sum(l[1]);
  }

  // This state is of the chunk after `earlier`, which is read piece by piece; it becomes their merge.
  template <class Other>
  __device__ __forceinline__ void merge_earlier(const Other& earlier, float sl2) {
    const float4 head = earlier.head();
    float em[2] = {head.x, head.y}, el[2] = {head.z, head.w}, first[2], second[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      merge_rows(em[i], el[i], m[i], l[i], sl2, first[i], second[i]);
      m[i] = em[i], l[i] = el[i];
    }
#pragma unroll
    for (int n = 0; n < HD / 8; ++n) {
      const float4 piece = earlier.piece(n);
      const float p[4] = {piece.x, piece.y, piece.z, piece.w};
#pragma unroll
      for (int e = 0; e < 4; ++e) o[n][e] = merge_sums(p[e], first[e >> 1], o[n][e], second[e >> 1]);
    }
  }

  // out[row] = o / l for row i where write[i]; its log-sum-exp, or null.
  __device__ __forceinline__ void store(bf16* const (&out)[2], float* const (&lse)[2], const bool (&write)[2], float scale, int lane) const {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (!write[i]) continue;
      const float inverse = __frcp_rn(l[i]);
#pragma unroll
      for (int n = 0; n < HD / 8; ++n) store_pair(out[i] + n * 8 + (lane & 3) * 2, o[n][2 * i], o[n][2 * i + 1], inverse);
      if (lse[i] != nullptr && (lane & 3) == 0) *lse[i] = log_sum(m[i], l[i], scale);
    }
  }
};

// A state that a thread left in memory: piece n of thread t at float4 number n * stride + t, the head before them.
struct SavedShared {
  float4* memory;
  int stride, thread;
  __device__ __forceinline__ float4 head() const { return memory[thread]; }
  __device__ __forceinline__ float4 piece(int n) const { return memory[(n + 1) * stride + thread]; }
  __device__ __forceinline__ void put(int index, const float4& v) const { memory[index * stride + thread] = v; }
};
template <int HD, class Saved>
__device__ __forceinline__ void save_state(const SoftmaxState<HD>& s, const Saved& to) {
  to.put(0, make_float4(s.m[0], s.m[1], s.l[0], s.l[1]));
#pragma unroll
  for (int n = 0; n < HD / 8; ++n) to.put(n + 1, make_float4(s.o[n][0], s.o[n][1], s.o[n][2], s.o[n][3]));
}

// What the forward kernels are given.
struct AttentionOperands {
  bf16* pages;
  long long page_stride;
  const bf16* q;
  bf16* out;
  float* lse;
  int ld, out_ld, heads, kv_heads;
  float scale;
  const float *cos, *sin;
};
inline AttentionOperands operands(const AttentionArgs& a) {
  return {a.pages.base, a.pages.page_stride, a.q, a.out, a.lse, static_cast<int>(a.ld), static_cast<int>(a.out_ld),
          static_cast<int>(a.heads), static_cast<int>(a.pages.kv_heads), a.scale, a.cos, a.sin};
}
inline constexpr float kLog2E = 1.4426950408889634f;

template <class Call>
void with_head_dim(std::int64_t hd, Call&& call) {
  switch (hd) {
    case 64: return call(std::integral_constant<int, 64>{});
    case 96: return call(std::integral_constant<int, 96>{});
    case 128: return call(std::integral_constant<int, 128>{});
    case 256: return call(std::integral_constant<int, 256>{});
  }
  throw ConfigError(message("attention on the GPU knows head_dim 64, 96, 128 and 256, not ", hd));
}

// A fragments of q straight from global memory: row pointers of this thread's two rows, null = zeros.
template <int HD>
__device__ __forceinline__ void load_q(std::uint32_t (&q)[HD / 16][4], const bf16* const (&row)[2], int lane) {
#pragma unroll
  for (int k = 0; k < HD / 16; ++k)
#pragma unroll
    for (int part = 0; part < 4; ++part) {
      const bf16* p = row[part & 1];
      q[k][part] = p == nullptr ? 0u : *reinterpret_cast<const std::uint32_t*>(p + k * 16 + (part >> 1) * 8 + (lane & 3) * 2);
    }
}

}  // namespace r1::gpu
