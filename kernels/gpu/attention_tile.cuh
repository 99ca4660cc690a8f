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

// s [16][64] = a-fragments [16][HD] x tile [64][HD]^T.
template <int HD>
__device__ __forceinline__ void product_rows(float (&s)[8][4], const std::uint32_t (&q)[HD / 16][4], const bf16* tile, int lane) {
#pragma unroll
  for (int n = 0; n < 8; ++n) {
    s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0.f;
#pragma unroll
    for (int k = 0; k < HD / 32; ++k) {
      std::uint32_t b[4];
      load_b<HD>(b, tile, n * 8, k * 32, lane);
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
__device__ __forceinline__ void accumulators_to_a(std::uint32_t (&a)[4][4], const float (&s)[8][4]) {
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    a[k][0] = pack_bf16(s[2 * k][0], s[2 * k][1]);
    a[k][1] = pack_bf16(s[2 * k][2], s[2 * k][3]);
    a[k][2] = pack_bf16(s[2 * k + 1][0], s[2 * k + 1][1]);
    a[k][3] = pack_bf16(s[2 * k + 1][2], s[2 * k + 1][3]);
  }
}

// Running softmax of 16 rows: this thread's rows are lane / 4 and lane / 4 + 8; l is its own share until finish_chunk().
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

  // One block: keys and values [64][HD]; row i sees the first limit[i] of them. sl2 = scale * log2(e).
  __device__ __forceinline__ void block(const std::uint32_t (&q)[HD / 16][4], const bf16* keys, const bf16* values, const int (&limit)[2],
                                        float sl2, int lane) {
    float s[8][4];
    product_rows<HD>(s, q, keys, lane);
    float top[2] = {-INFINITY, -INFINITY};
#pragma unroll
    for (int n = 0; n < 8; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        if (n * 8 + (lane & 3) * 2 + (e & 1) >= limit[e >> 1]) s[n][e] = -INFINITY;
        top[e >> 1] = fmaxf(top[e >> 1], s[n][e]);
      }
    float shift[2], scale[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float next = fmaxf(m[i], quad_max(top[i]));
      shift[i] = next == -INFINITY ? 0.f : __fmul_rn(next, sl2);
      // Not fused: where the maximum stays, the factor has to be exactly 1, so that a block of masked keys changes nothing.
      scale[i] = exp2_fast(__fsub_rn(__fmul_rn(m[i], sl2), shift[i]));
      m[i] = next;
      l[i] = __fmul_rn(l[i], scale[i]);
    }
#pragma unroll
    for (int n = 0; n < 8; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        s[n][e] = exp2_fast(__fmaf_rn(s[n][e], sl2, -shift[e >> 1]));
        l[e >> 1] = __fadd_rn(l[e >> 1], s[n][e]);
      }
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

  // This state is of the chunks before `next` (or of the one after `earlier`); it becomes their merge. The other state is read
  // piece by piece, from shared or global memory: head(m, l), piece(n) -> float4.
  template <class Other>
  __device__ __forceinline__ void merge_next(const Other& next, float sl2) {
    merge<false>(next, sl2);
  }
  template <class Other>
  __device__ __forceinline__ void merge_earlier(const Other& earlier, float sl2) {
    merge<true>(earlier, sl2);
  }

  // out[row] = o / l for row i of `rows` where write[i]; lse of the scaled scores in nats, or null.
  __device__ __forceinline__ void store(bf16* const (&out)[2], float* const (&lse)[2], const bool (&write)[2], float scale, int lane) const {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (!write[i]) continue;
      const float inverse = __frcp_rn(l[i]);
#pragma unroll
      for (int n = 0; n < HD / 8; ++n)
        *reinterpret_cast<std::uint32_t*>(out[i] + n * 8 + (lane & 3) * 2) =
            pack_bf16(__fmul_rn(o[n][2 * i], inverse), __fmul_rn(o[n][2 * i + 1], inverse));
      if (lse[i] != nullptr && (lane & 3) == 0) *lse[i] = __fmaf_rn(m[i], scale, logf(l[i]));
    }
  }

 private:
  template <bool kOtherFirst, class Other>
  __device__ __forceinline__ void merge(const Other& other, float sl2) {
    const float4 head = other.head();
    const float other_m[2] = {head.x, head.y}, other_l[2] = {head.z, head.w};
    float first[2], second[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float top = fmaxf(m[i], other_m[i]);
      const float shift = top == -INFINITY ? 0.f : __fmul_rn(top, sl2);
      first[i] = exp2_fast(__fsub_rn(__fmul_rn(kOtherFirst ? other_m[i] : m[i], sl2), shift));
      second[i] = exp2_fast(__fsub_rn(__fmul_rn(kOtherFirst ? m[i] : other_m[i], sl2), shift));
      m[i] = top;
      const float l1 = kOtherFirst ? other_l[i] : l[i], l2 = kOtherFirst ? l[i] : other_l[i];
      l[i] = __fmaf_rn(l2, second[i], __fmul_rn(l1, first[i]));
    }
#pragma unroll
    for (int n = 0; n < HD / 8; ++n) {
      const float4 piece = other.piece(n);
      const float p[4] = {piece.x, piece.y, piece.z, piece.w};
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const float o1 = kOtherFirst ? p[e] : o[n][e], o2 = kOtherFirst ? o[n][e] : p[e];
        o[n][e] = __fmaf_rn(o2, second[e >> 1], __fmul_rn(o1, first[e >> 1]));
      }
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
struct SavedGlobal {
  float4* memory;
  int stride, thread;
  __device__ __forceinline__ float4 head() const { return __ldcg(memory + thread); }
  __device__ __forceinline__ float4 piece(int n) const { return __ldcg(memory + (n + 1) * stride + thread); }
  __device__ __forceinline__ void put(int index, const float4& v) const { __stcg(memory + index * stride + thread, v); }
};
template <int HD, class Saved>
__device__ __forceinline__ void save_state(const SoftmaxState<HD>& s, const Saved& to) {
  to.put(0, make_float4(s.m[0], s.m[1], s.l[0], s.l[1]));
#pragma unroll
  for (int n = 0; n < HD / 8; ++n) to.put(n + 1, make_float4(s.o[n][0], s.o[n][1], s.o[n][2], s.o[n][3]));
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
