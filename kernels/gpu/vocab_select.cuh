// The cut of top-k and top-p, exact and without sorting: histograms of a row narrow the place of the cut down to a list in shared
// memory, and within the list every element counts what lies above it. Counts and masses are integers, so that no sum depends on
// the order of its additions.
#pragma once

#include "kernels/gpu/vocab_draw.cuh"

namespace r1::gpu {

using u64 = unsigned long long;

inline constexpr int kBins = 2048, kList = 1024;

// 2^-42 of the largest token's weight.
inline constexpr float kMassUnit = 4398046511104.f;
__device__ __forceinline__ u64 fixed_mass(float e) { return static_cast<u64>(e * kMassUnit); }

struct Selection {
  u32 low[kBins], high[kBins];  // of a bin's sum; bin 0 has the largest logits
  u32 orders[kList];
  std::int32_t ids[kList];  // only of lists from which tokens are drawn
  u64 masses[kList];
  u32 count, smallest, largest;
  int bin;
  u64 left;
  u32 order, ties;  // of a cut
};

// Without 64-bit atomics, which shared memory has only as loops.
__device__ __forceinline__ void add_to_bin(Selection& sel, int bin, u64 value) {
  const u32 low = static_cast<u32>(value), old = atomicAdd(&sel.low[bin], low);
  const u32 high = static_cast<u32>(value >> 32) + (old + low < old ? 1u : 0u);
  if (high != 0) atomicAdd(&sel.high[bin], high);
}

// f(logit) for every element of the row, by all threads of the block.
template <class F> __device__ __forceinline__ void for_row(const float* row, i64 v, F&& f) {
  const i64 step = static_cast<i64>(blockDim.x) * 16;
#pragma unroll 1
  for (i64 base = static_cast<i64>(threadIdx.x >> 5) * 512; base < v; base += step) for_each(load16(row, base, v), f);
}

// All threads: clears the bins, fills them by `fill`, and finds the bin in which the sum from bin 0 on reaches sel.left (else the last
// that has anything); sel.left becomes what that bin must give.
template <class Fill> __device__ __forceinline__ int narrow(Selection& sel, Fill&& fill) {
  for (int i = static_cast<int>(threadIdx.x); i < kBins; i += static_cast<int>(blockDim.x)) sel.low[i] = sel.high[i] = 0;
  __syncthreads();
  fill();
  __syncthreads();
  if (threadIdx.x < 32) {
    constexpr int kEach = kBins / 32;
    const int lane = static_cast<int>(threadIdx.x);
    const auto bin = [&](int i) { return static_cast<u64>(sel.high[lane * kEach + i]) << 32 | sel.low[lane * kEach + i]; };
    u64 mine = 0;
    for (int i = 0; i < kEach; ++i) mine += bin(i);
    u64 upto = mine;
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
      const u64 left = __shfl_up_sync(~0u, upto, step);
      if (lane >= step) upto += left;
    }
    const u64 goal = sel.left;
    const unsigned reached = __ballot_sync(~0u, upto >= goal), any = __ballot_sync(~0u, mine != 0);
    const int who = reached != 0 ? __ffs(static_cast<int>(reached)) - 1 : any != 0 ? 31 - __clz(static_cast<int>(any)) : 0;
    if (lane == who) {
      u64 before = upto - mine, last_before = before;
      int found = lane * kEach;
      for (int i = 0; i < kEach; ++i) {
        const u64 here = bin(i);
        if (here == 0) continue;
        found = lane * kEach + i, last_before = before;
        before += here;
        if (before >= goal) break;
      }
      sel.bin = found, sel.left = (before < goal ? before : goal) - last_before;
    }
  }
  __syncthreads();
  return sel.bin;
}

// All threads: the smallest set of the largest elements of the list whose weight (1 each, or their mass) reaches `left`; ties by count.
// Elements below `floor` do not take part. The list is not empty.
template <bool kByMass> __device__ Cut cut_of_list(Selection& sel, u64 left, u32 floor) {
  __syncthreads();
  const int n = static_cast<int>(sel.count);
  for (int i = static_cast<int>(threadIdx.x); i < n; i += static_cast<int>(blockDim.x)) {
    const u32 order = sel.orders[i];
    if (order < floor) continue;
    u64 above = 0, same = 0;
    bool last = true;
    for (int j = 0; j < n; ++j) {
      const u32 other = sel.orders[j];
      const u64 weight = kByMass ? sel.masses[j] : 1;
      if (other > order) above += weight;
      else if (other == order) same += weight;
      else if (other >= floor) last = false;
    }
    if ((above < left && above + same >= left) || (last && above + same < left)) {  // all that are tied say the same
      const u64 one = kByMass ? sel.masses[i] : 1, ties = above + same < left || one == 0 ? 0xffffffffu : (left - above + one - 1) / one;
      sel.order = order, sel.ties = static_cast<u32>(ties);
    }
  }
  __syncthreads();
  Cut cut;
  cut.order = sel.order, cut.ties = sel.ties;
  return cut;
}

// All threads: the same for the row; `goal` at least 1. Elements whose t = m - z log2(e) is above `far` are left out: only where they
// cannot be in the set.
template <bool kByMass> __device__ Cut smallest_set(const float* row, i64 v, const Weights& w, Selection& sel, u64 goal, u32 floor, float far) {
  const auto distance = [&](float x) { return __fsub_rn(w.all.m, __fmul_rn(x, w.scale)); };
  const auto coarse = [](float t) { return t < 63.f ? static_cast<int>(t * 32.f) : kBins - 1; };
  __syncthreads();
  if (threadIdx.x == 0) sel.left = goal;
  const int bin = narrow(sel, [&] {
    for_row(row, v, [&](float x) {
      const float t = distance(x), e = w.plain(x);
      if (!(e > 0.f) || t > far || order_of(x) < floor) return;
      if constexpr (kByMass) add_to_bin(sel, coarse(t), fixed_mass(e));
      else atomicAdd(&sel.low[coarse(t)], 1u);
    });
  });
  u32 from = floor, to = 0xffffffffu;
#pragma unroll 1
  for (;;) {
    const auto within = [&](float x, u32 order) {
      const float t = distance(x);
      return order >= from && order <= to && t <= far && coarse(t) == bin && w.plain(x) > 0.f;
    };
    if (threadIdx.x == 0) sel.count = 0, sel.smallest = 0xffffffffu, sel.largest = 0;
    __syncthreads();
    u32 smallest = 0xffffffffu, largest = 0;
    for_row(row, v, [&](float x) {
      const u32 order = order_of(x);
      if (!within(x, order)) return;
      smallest = order < smallest ? order : smallest, largest = order > largest ? order : largest;
      const u32 at = atomicAdd(&sel.count, 1u);
      if (at >= kList) return;
      sel.orders[at] = order;
      sel.masses[at] = fixed_mass(w.plain(x));
    });
    if (smallest <= largest) atomicMin(&sel.smallest, smallest), atomicMax(&sel.largest, largest);
    __syncthreads();
    if (sel.count <= kList) return cut_of_list<kByMass>(sel, sel.left, floor);
    from = sel.smallest, to = sel.largest;
    if (from == to) break;
    int shift = 0;
    while ((to - from) >> shift >= kBins) ++shift;
    const int finer = narrow(sel, [&] {
      for_row(row, v, [&](float x) {
        const u32 order = order_of(x);
        if (!within(x, order)) return;
        const int at = static_cast<int>((to - order) >> shift);
        if constexpr (kByMass) add_to_bin(sel, at, fixed_mass(w.plain(x)));
        else atomicAdd(&sel.low[at], 1u);
      });
    });
    to -= static_cast<u32>(finer) << shift;
    const u32 width = (1u << shift) - 1;
    if (to - from > width) from = to - width;
    __syncthreads();
  }
  // More equal logits than the list can hold.
  Cut cut;
  cut.order = from;
  const u64 one = kByMass ? fixed_mass(w.plain(value_of(from))) : 1, ties = one == 0 ? 0xffffffffu : (sel.left + one - 1) / one;
  cut.ties = static_cast<u32>(ties < 1 ? 1 : ties < 0xffffffffu ? ties : 0xffffffffu);
  return cut;
}

// All threads: lists all elements that reach the k-th largest of the maxima of lanes (`tops` of row_statistics()): at least the k
// largest, and seldom many more; only those lanes' elements are read again. False: too many for the list.
__device__ __forceinline__ bool list_largest(const float* row, i64 v, const Weights& w, Selection& sel, const float* tops, int k) {
  constexpr int kTops = kSegments * 32;
  u32 bound = 0;  // 20 bits are near enough
#pragma unroll 1
  for (u32 bit = 1u << 31; bit >= 1u << 12; bit >>= 1) {
    int count = 0;
    for (int i = static_cast<int>(threadIdx.x); i < kTops; i += static_cast<int>(blockDim.x)) count += __syncthreads_count(order_of(tops[i]) >= (bound | bit));
    if (count >= k) bound |= bit;
  }
  if (threadIdx.x == 0) sel.count = 0;
  __syncthreads();
  const int lane = static_cast<int>(threadIdx.x) & 31;
  const i64 size = segment_size(v);
#pragma unroll 1
  for (int segment = static_cast<int>(threadIdx.x) >> 5; segment < kSegments; segment += static_cast<int>(blockDim.x) >> 5) {
    const i64 begin = segment * size, end = begin + size < v ? begin + size : v;
    unsigned lanes = __ballot_sync(~0u, order_of(tops[segment * 32 + lane]) >= bound);
    for (; lanes != 0; lanes &= lanes - 1) {
      const int whose = __ffs(static_cast<int>(lanes)) - 1;
      for (i64 at = begin + whose * 4 + lane * 128; at < end; at += 32 * 128)
        for (int j = 0; j < 4; ++j) {
          if (at + j >= end) break;
          const float x = row[at + j], e = w.plain(x);
          if (order_of(__fmul_rn(x, w.scale)) < bound || !(e > 0.f)) continue;
          const u32 place = atomicAdd(&sel.count, 1u);
          if (place >= kList) continue;
          sel.orders[place] = order_of(x), sel.ids[place] = static_cast<std::int32_t>(at + j), sel.masses[place] = fixed_mass(e);
        }
    }
  }
  __syncthreads();
  return sel.count <= kList;
}

}  // namespace r1::gpu
