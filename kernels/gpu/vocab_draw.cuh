// Choosing a token once a row's statistics are known.
#pragma once

#include "kernels/gpu/vocab_row.cuh"

namespace r1::gpu {

// The same bits as scale_of() on the device: the division and the product are both correctly rounded.
inline float vocab_scale(float temperature) {
  const float inverse = 1.f / (temperature == 0.f ? 1.f : temperature);
  return kLog2OfE * inverse;
}

// All threads: the smallest id whose logit is the largest. chosen is -1 before.
__device__ __forceinline__ void greedy(const float* row, i64 v, std::int32_t* chosen) {
  __shared__ float tops[kVocabWarps];
  __shared__ std::int32_t ids[kVocabWarps];
  float top = -INFINITY;
  std::int32_t id = 0x7fffffff;
  for (i64 i = threadIdx.x; i < v; i += kVocabThreads)
    if (row[i] > top) top = row[i], id = static_cast<std::int32_t>(i);
  const auto take = [&](float t, std::int32_t j) {
    if (t > top || (t == top && j < id)) top = t, id = j;
  };
#pragma unroll
  for (int step = 16; step > 0; step /= 2) take(__shfl_xor_sync(~0u, top, step), __shfl_xor_sync(~0u, id, step));
  const int lane = static_cast<int>(threadIdx.x) & 31, warp = static_cast<int>(threadIdx.x) >> 5;
  if (lane == 0) tops[warp] = top, ids[warp] = id;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int i = 1; i < kVocabWarps; ++i) take(tops[i], ids[i]);
  *chosen = id;
}

// One warp: walks [begin, end) in id order, 128 elements at a time; `mass(id, logit)` is what an element weighs. Stores into *chosen
// the first id at which `before` plus the running sum passes the goal, else the last id of positive mass, if there is one.
template <class Mass>
__device__ __forceinline__ void walk(const float* row, i64 begin, i64 end, double before, double goal, Mass&& mass, std::int32_t* chosen) {
  const int lane = static_cast<int>(threadIdx.x) & 31;
  double sum = before;
  std::int32_t last = -1;
  for (i64 base = begin; base < end; base += 128) {
    float e[4];
    double mine = 0.0;
    std::int32_t positive = -1;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const i64 id = base + lane * 4 + j;
      e[j] = id < end ? mass(id, row[id]) : 0.f;
      mine += e[j];
      if (e[j] > 0.f) positive = static_cast<std::int32_t>(id);
    }
    double inclusive = mine;
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
      const double from = __shfl_up_sync(~0u, inclusive, step);
      if (lane >= step) inclusive += from;
    }
    const unsigned passed = __ballot_sync(~0u, sum + inclusive > goal && mine > 0.0);
    if (passed != 0) {
      if (lane == __ffs(static_cast<int>(passed)) - 1) {
        double running = sum + inclusive - mine;
        std::int32_t token = positive;  // where rounding hides the crossing
        for (int j = 3; j >= 0; --j) {
          double upto = running;
          for (int i = 0; i <= j; ++i) upto += e[i];
          if (e[j] > 0.f && upto > goal) token = static_cast<std::int32_t>(base + lane * 4 + j);
        }
        *chosen = token;
      }
      return;
    }
    const unsigned any = __ballot_sync(~0u, positive >= 0);
    if (any != 0) last = __shfl_sync(~0u, positive, 31 - __clz(static_cast<int>(any)));
    sum += __shfl_sync(~0u, inclusive, 31);
  }
  if (lane == 0 && last >= 0) *chosen = last;
}

// One warp: the inverse of the cumulative distribution in id order.
__device__ __forceinline__ void draw_in_order(const float* row, i64 v, float scale, const SoftmaxSums& all, const SoftmaxSums* segments,
                                              double uniform, std::int32_t* chosen) {
  double total = 0.0;
#pragma unroll 1  // 32 masses in registers would spill
  for (int i = 0; i < kVocabWarps; ++i) total += static_cast<double>(segments[i].s) * all.weight(segments[i].m);
  const double goal = uniform * total;
  double before = 0.0;
  int segment = -1;
#pragma unroll 1
  for (int i = 0; i < kVocabWarps; ++i) {
    const double mass = static_cast<double>(segments[i].s) * all.weight(segments[i].m);
    if (!(mass > 0.0)) continue;
    if (segment >= 0) before += static_cast<double>(segments[segment].s) * all.weight(segments[segment].m);
    segment = i;
    if (before + mass > goal) break;
  }
  if (segment < 0) return;
  const i64 size = segment_size(v), begin = segment * size, end = begin + size < v ? begin + size : v;
  walk(row, begin, end, before, goal, [&](i64, float logit) { return all.weight(__fmul_rn(logit, scale)); }, chosen);
}

// One thread. sum, m: of the distribution drawn from (after filters), as in SoftmaxSums.
__device__ __forceinline__ void finish_draw(const float* row, float scale, const SoftmaxSums& all, float sum, float m, std::int32_t token,
                                            std::int32_t slot, Drawn* out, std::int32_t* last_token) {
  Drawn d;
  d.token = token;
  if (token >= 0) {
    SoftmaxSums from;
    from.m = m, from.s = sum;
    d.logprob = log_probability(row[token], scale, from);
    d.entropy = entropy_of(all);
  } else {
    d.logprob = d.entropy = NAN;
  }
  *out = d;
  if (slot >= 0 && last_token != nullptr) last_token[slot] = token < 0 ? 0 : token;
}

void sample_filtered(Stream s, const float* logits, i64 ld, i64 v, const Draw* draws, i64 n, Drawn* out, std::int32_t* last_token);

}  // namespace r1::gpu
