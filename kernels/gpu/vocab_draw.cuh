// Choosing a token once a row's statistics are known.
#pragma once

#include "kernels/gpu/vocab_row.cuh"

namespace r1::gpu {

// The same bits as scale_of() on the device: the division and the product are both correctly rounded.
inline float vocab_scale(float temperature) {
  const float inverse = 1.f / (temperature == 0.f ? 1.f : temperature);
  return kLog2OfE * inverse;
}

// Bits of a float in the order of its value; -0 counts as 0.
__device__ __forceinline__ u32 order_of(float x) {
  const u32 bits = __float_as_uint(x == 0.f ? 0.f : x);
  return bits ^ ((bits & 0x80000000u) ? 0xffffffffu : 0x80000000u);
}
__device__ __forceinline__ float value_of(u32 order) { return __uint_as_float(order ^ ((order & 0x80000000u) ? 0x80000000u : 0xffffffffu)); }

// All threads: the smallest id whose logit is the largest. *chosen is -1 before. Only segments with the row's maximum are read.
__device__ __forceinline__ void greedy(const float* row, i64 v, const SoftmaxSums& all, const SoftmaxSums* segments, std::int32_t* chosen) {
  __shared__ unsigned long long best;
  if (threadIdx.x == 0) best = 0;
  __syncthreads();
  const i64 size = segment_size(v);
  unsigned long long mine = 0;  // the logit, then the smaller id
#pragma unroll 1
  for (int segment = 0; segment < kSegments; ++segment) {
    if (segments[segment].m != all.m) continue;
    const i64 begin = segment * size, end = begin + size < v ? begin + size : v;
    for (i64 i = begin + threadIdx.x; i < end; i += blockDim.x) {
      const unsigned long long key = static_cast<unsigned long long>(order_of(row[i])) << 32 | (0xffffffffu - static_cast<u32>(i));
      if (key > mine) mine = key;
    }
  }
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    const unsigned long long other = __shfl_xor_sync(~0u, mine, step);
    if (other > mine) mine = other;
  }
  if ((threadIdx.x & 31) == 0 && mine != 0) atomicMax(&best, mine);
  __syncthreads();
  if (threadIdx.x == 0) *chosen = static_cast<std::int32_t>(0xffffffffu - static_cast<u32>(best));
}

// What is kept: logits above `order`, of those equal to it the first `ties` by id; and of these only weights from min_p on.
struct Cut {
  u32 order = 0;
  u32 ties = 0xffffffffu;
  float min_p = 0.f;
};

// What an element weighs in a draw.
struct Weights {
  SoftmaxSums all;
  float scale = 1.f;
  Cut cut;
  __device__ __forceinline__ float plain(float logit) const { return all.weight(__fmul_rn(logit, scale)); }
  __device__ __forceinline__ float kept(float logit) const {  // had it not to share the cut with others
    const float e = plain(logit);
    return e < cut.min_p && e < 1.f ? 0.f : e;
  }
};

// Of consecutive ids: the mass above the cut, and the number of logits equal to it.
struct Mass {
  double above = 0.0;
  u32 ties = 0;
};
// One warp; all lanes get it. kCut = false: everything is above the cut.
template <bool kCut> __device__ __forceinline__ Mass mass_of(const float* row, i64 begin, i64 end, const Weights& w) {
  Mass sum;
#pragma unroll 1
  for (i64 base = begin; base < end; base += 512) {
    float part = 0.f;
    for_each(load16(row, base, end), [&](float x) {
      if constexpr (kCut) {
        const u32 order = order_of(x);
        if (order > w.cut.order) part = __fadd_rn(part, w.kept(x));
        sum.ties += order == w.cut.order;
      } else {
        part = __fadd_rn(part, w.plain(x));
      }
    });
    sum.above += static_cast<double>(part);
  }
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    sum.above += __shfl_xor_sync(~0u, sum.above, step);
    if constexpr (kCut) sum.ties += __shfl_xor_sync(~0u, sum.ties, step);
  }
  return sum;
}

// A place in the row: the mass and the ties before it.
struct Place {
  int part = -1;
  double before = 0.0;
  u32 ties = 0;
  double total = 0.0;  // of all parts
};
// One warp; lane i has part i of 32. The first part at which the mass from `from` on passes the goal, else the last one with any mass.
// by_total: the goal is a fraction of the total.
__device__ __forceinline__ Place pick(Mass mine, const Place& from, double tie_weight, const Cut& cut, double goal, bool by_total) {
  const int lane = static_cast<int>(threadIdx.x) & 31;
  u32 ties = mine.ties;
  const auto kept_of = [&](u32 count) { return count < cut.ties ? count : cut.ties; };
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const u32 left = __shfl_up_sync(~0u, ties, step);
    if (lane >= step) ties += left;
  }
  const u32 ties_before = from.ties + ties - mine.ties;
  const double mass = mine.above + tie_weight * static_cast<double>(kept_of(ties_before + mine.ties) - kept_of(ties_before));
  double upto = mass;
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const double left = __shfl_up_sync(~0u, upto, step);
    if (lane >= step) upto += left;
  }
  Place place;
  place.total = __shfl_sync(~0u, upto, 31);
  if (by_total) goal *= place.total;
  const unsigned passed = __ballot_sync(~0u, mass > 0.0 && from.before + upto > goal), any = __ballot_sync(~0u, mass > 0.0);
  if (any == 0) return place;
  place.part = passed != 0 ? __ffs(static_cast<int>(passed)) - 1 : 31 - __clz(static_cast<int>(any));
  const double before = __shfl_sync(~0u, upto, place.part > 0 ? place.part - 1 : 0);
  place.before = from.before + (place.part > 0 ? before : 0.0);
  place.ties = __shfl_sync(~0u, ties_before, place.part);
  return place;
}

// One warp: walks [begin, end) in id order, 128 elements at a time, from a place on. Stores into *chosen the first id at which the mass
// passes the goal, else the last one of positive mass, if there is one.
template <bool kCut>
__device__ __forceinline__ void walk(const float* row, i64 begin, i64 end, const Place& from, double goal, const Weights& w, std::int32_t* chosen) {
  const int lane = static_cast<int>(threadIdx.x) & 31;
  double sum = from.before;
  u32 ties = from.ties;
  std::int32_t last = -1;
#pragma unroll 1
  for (i64 base = begin; base < end; base += 128) {
    float e[4];
    double mine = 0.0;
    std::int32_t positive = -1;
    u32 tied[4] = {0, 0, 0, 0}, count = 0;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const i64 id = base + lane * 4 + j;
      const float x = id < end ? row[id] : -INFINITY;
      if constexpr (kCut) {
        const u32 order = order_of(x);
        tied[j] = id < end && order == w.cut.order;
        count += tied[j];
        e[j] = id < end && order >= w.cut.order ? w.kept(x) : 0.f;
      } else {
        e[j] = w.plain(x);
      }
    }
    if constexpr (kCut) {
      u32 upto = count;
#pragma unroll
      for (int step = 1; step < 32; step *= 2) {
        const u32 left = __shfl_up_sync(~0u, upto, step);
        if (lane >= step) upto += left;
      }
      u32 before = ties + upto - count;
      ties += __shfl_sync(~0u, upto, 31);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        if (tied[j] != 0 && before >= w.cut.ties) e[j] = 0.f;
        before += tied[j];
      }
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      mine += e[j];
      if (e[j] > 0.f) positive = static_cast<std::int32_t>(base + lane * 4 + j);
    }
    double inclusive = mine;
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
      const double left = __shfl_up_sync(~0u, inclusive, step);
      if (lane >= step) inclusive += left;
    }
    const unsigned passed = __ballot_sync(~0u, sum + inclusive > goal && mine > 0.0);
    if (passed != 0) {
      if (lane == __ffs(static_cast<int>(passed)) - 1) {
        double upto = sum + inclusive - mine;
        std::int32_t token = -1;
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          upto += e[j];
          if (token < 0 && e[j] > 0.f && upto > goal) token = static_cast<std::int32_t>(base + lane * 4 + j);
        }
        *chosen = token < 0 ? positive : token;  // rounding may hide the crossing
      }
      return;
    }
    const unsigned any = __ballot_sync(~0u, positive >= 0);
    if (any != 0) last = __shfl_sync(~0u, positive, 31 - __clz(static_cast<int>(any)));
    sum += __shfl_sync(~0u, inclusive, 31);
  }
  if (lane == 0 && last >= 0) *chosen = last;
}

// All threads: the inverse of the cumulative distribution in id order: a segment by its mass, a chunk of that by its mass, then the
// token. masses [kSegments] in shared memory, of the segments; they are overwritten. Returns the mass of all, in every thread.
template <bool kCut>
__device__ __forceinline__ double draw_in_order(const float* row, i64 v, const Weights& w, Mass* masses, double uniform, std::int32_t* chosen) {
  __syncthreads();
  const int lane = static_cast<int>(threadIdx.x) & 31, warp = static_cast<int>(threadIdx.x) >> 5;
  const double tie_weight = kCut && w.cut.order != 0 ? static_cast<double>(w.kept(value_of(w.cut.order))) : 0.0;
  const Place segment = pick(masses[lane], Place(), tie_weight, w.cut, uniform, true);
  const double goal = uniform * segment.total;
  __syncthreads();
  if (segment.part < 0) return 0.0;
  const i64 begin = segment.part * segment_size(v), end = begin + segment_size(v) < v ? begin + segment_size(v) : v, size = chunk_size(v);
#pragma unroll 1
  for (int chunk = warp; chunk < kSegments; chunk += static_cast<int>(blockDim.x) >> 5) {
    const i64 from = begin + chunk * size, to = from + size < end ? from + size : end;
    const Mass mass = mass_of<kCut>(row, from, to, w);
    if (lane == 0) masses[chunk] = mass;
  }
  __syncthreads();
  if (warp == 0) {
    const Place chunk = pick(masses[lane], segment, tie_weight, w.cut, goal, false);
    const i64 from = begin + chunk.part * size;
    if (chunk.part >= 0) walk<kCut>(row, from, from + size < end ? from + size : end, chunk, goal, w, chosen);
  }
  return segment.total;
}
// The whole distribution. The masses come from the statistics, so no further pass over the row is needed.
__device__ __forceinline__ void draw_from_all(const float* row, i64 v, const Weights& w, const SoftmaxSums* segments, Mass* masses, double uniform,
                                              std::int32_t* chosen) {
  if (threadIdx.x < kSegments) {
    const SoftmaxSums mine = segments[threadIdx.x];
    masses[threadIdx.x] = {static_cast<double>(mine.s) * static_cast<double>(w.all.weight(mine.m)), 0};
  }
  draw_in_order<false>(row, v, w, masses, uniform, chosen);
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
