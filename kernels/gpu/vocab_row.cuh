// Statistics of a row of logits, one block of threads a row. A row is cut into segments, each of them a warp's work from its
// first to its last element: a row's bits depend on its logits, v and the temperature alone, not on the block's size. Shared by
// the sampler and the learner.
#pragma once

#include "kernels/gpu/common.cuh"

namespace r1::gpu {

inline constexpr int kVocabThreads = 1024;  // at most
inline constexpr int kSegments = 32;        // of a row; as many as lanes, so that a warp can merge them
// A few rows: a whole multiprocessor each. Many: two rows share one, so that 256 rows run at once on 132 multiprocessors.
inline unsigned vocab_threads(i64 n) { return n <= 128 ? 1024 : 512; }
inline constexpr float kLn2 = 0.6931471805599453f, kLog2OfE = 1.4426950408889634f;

// With t = z log2(e) - m: sums of 2^t and of 2^t t. z = logit / temperature.
struct SoftmaxSums {
  float m = -INFINITY, s = 0.f, w = 0.f;

  __device__ __forceinline__ float weight(float z2) const { return exp2_fast(__fsub_rn(z2, m == -INFINITY ? 0.f : m)); }
  // Makes the maximum at least `top`.
  template <bool kEntropy>
  __device__ __forceinline__ void raise(float top) {
    if (!(top > m)) return;
    if (m != -INFINITY) {
      const float step = __fsub_rn(m, top), c = exp2_fast(step);
      if constexpr (kEntropy) w = __fmul_rn(c, __fmaf_rn(s, step, w));
      s = __fmul_rn(s, c);
    }
    m = top;
  }
  template <bool kEntropy>
  __device__ __forceinline__ void merge(const SoftmaxSums& o) {
    SoftmaxSums other = o;
    const float top = fmaxf(m, o.m);
    raise<kEntropy>(top);
    other.raise<kEntropy>(top);
    s = __fadd_rn(s, other.s);
    if constexpr (kEntropy) w = __fadd_rn(w, other.w);
  }
};

// Elements of a segment, and of a chunk, of which a segment has kSegments as well: multiples of 128, functions of v.
__device__ __host__ __forceinline__ i64 segment_size(i64 v) { return (v + kSegments * 128 - 1) / (kSegments * 128) * 128; }
__device__ __host__ __forceinline__ i64 chunk_size(i64 v) { return segment_size(segment_size(v)); }

// Lane's elements of [base, base + 512), those from `end` on being -inf: 16-byte pieces at 4 lane + 128 part.
struct Sixteen {
  float4 part[4];
};
__device__ __forceinline__ Sixteen load16(const float* logits, i64 base, i64 end) {
  Sixteen r;
#pragma unroll
  for (int part = 0; part < 4; ++part) {
    const i64 at = base + part * 128 + (static_cast<int>(threadIdx.x) & 31) * 4;
    float4 x = make_float4(-INFINITY, -INFINITY, -INFINITY, -INFINITY);
    if (at + 4 <= end) x = __ldcg(reinterpret_cast<const float4*>(logits + at));
    else if (at < end) {
      x.x = logits[at];
      if (at + 1 < end) x.y = logits[at + 1];
      if (at + 2 < end) x.z = logits[at + 2];
    }
    r.part[part] = x;
  }
  return r;
}
// f(logit) for the sixteen in the order of their ids.
template <class F> __device__ __forceinline__ void for_each(const Sixteen& r, F&& f) {
#pragma unroll
  for (int part = 0; part < 4; ++part) f(r.part[part].x), f(r.part[part].y), f(r.part[part].z), f(r.part[part].w);
}

template <bool kEntropy> __device__ __forceinline__ SoftmaxSums merged_over_warp(SoftmaxSums mine) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    SoftmaxSums other;
    other.m = __shfl_xor_sync(~0u, mine.m, step);
    other.s = __shfl_xor_sync(~0u, mine.s, step);
    if constexpr (kEntropy) other.w = __shfl_xor_sync(~0u, mine.w, step);
    mine.merge<kEntropy>(other);
  }
  return mine;
}

// All threads of the block; every thread gets the same bits. segments [kSegments] in shared memory stays valid. tops, unless null:
// [kSegments][32], of each lane's elements of each segment the largest times scale.
template <bool kEntropy>
__device__ __forceinline__ SoftmaxSums row_statistics(const float* logits, i64 v, float scale, SoftmaxSums* segments, float* tops = nullptr) {
  const int lane = static_cast<int>(threadIdx.x) & 31, warps = static_cast<int>(blockDim.x) >> 5;
  const i64 size = segment_size(v);
#pragma unroll 1
  for (int segment = static_cast<int>(threadIdx.x) >> 5; segment < kSegments; segment += warps) {
    const i64 begin = segment * size, end = begin + size < v ? begin + size : v;
    SoftmaxSums mine;
    Sixteen next = load16(logits, begin, end);
#pragma unroll 1
    for (i64 base = begin; base < end; base += 512) {
      float z[16], top = -INFINITY;
      int at = 0;
      for_each(next, [&](float x) { z[at++] = __fmul_rn(x, scale); });
      if (base + 512 < end) next = load16(logits, base + 512, end);  // on its way while this piece is added up
#pragma unroll
      for (int i = 0; i < 16; ++i) top = fmaxf(top, z[i]);
      mine.raise<kEntropy>(top);
      const float m = mine.m == -INFINITY ? 0.f : mine.m;
#pragma unroll
      for (int i = 0; i < 16; ++i) {
        const float t = __fsub_rn(z[i], m), e = exp2_fast(t);
        mine.s = __fadd_rn(mine.s, e);
        if constexpr (kEntropy) mine.w = e > 0.f ? __fmaf_rn(e, t, mine.w) : mine.w;
      }
    }
    if (tops != nullptr) tops[segment * 32 + lane] = mine.m;
    mine = merged_over_warp<kEntropy>(mine);
    if (lane == 0) segments[segment] = mine;
  }
  __syncthreads();
  return merged_over_warp<kEntropy>(segments[lane]);
}

__device__ __forceinline__ float log_sum(const SoftmaxSums& a) { return __fmaf_rn(a.m, kLn2, logf(a.s)); }  // nats; of z
__device__ __forceinline__ float log_probability(float logit, float scale, const SoftmaxSums& a) {
  return __fmaf_rn(__fsub_rn(__fmul_rn(logit, scale), a.m), kLn2, -logf(a.s));
}
__device__ __forceinline__ float entropy_of(const SoftmaxSums& a) {
  return fmaxf(__fsub_rn(logf(a.s), __fmul_rn(kLn2, __fdiv_rn(a.w, a.s))), 0.f);
}
__device__ __forceinline__ float scale_of(float temperature) {
  return __fmul_rn(kLog2OfE, temperature == 0.f ? 1.f : __frcp_rn(temperature));
}

}  // namespace r1::gpu
