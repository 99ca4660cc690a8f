// The router's choice of experts, one warp a token, and the sort of tokens by expert.
#include "kernels/gpu/common.cuh"
#include "kernels/gpu/experts.h"

namespace r1::gpu {
namespace {

constexpr int kWarps = 4;                // of a block of route_kernel
constexpr int kHeld = kMaxExperts / 32;  // scores a lane
constexpr int kSortThreads = 1024;

__device__ __forceinline__ float warp_max(float v) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) v = fmaxf(v, __shfl_xor_sync(~0u, v, step));
  return v;
}

// Scores of a row, expert e = lane + 32 j in s[j].
__device__ __forceinline__ void scores_of(const RouteArgs& a, const float* logits, int lane, float (&s)[kHeld]) {
  const int experts = static_cast<int>(a.experts);
  float top = -INFINITY, sum = 0.f;
#pragma unroll
  for (int j = 0; j < kHeld; ++j) {
    const int e = lane + 32 * j;
    s[j] = e < experts ? logits[e] : -INFINITY;
    top = fmaxf(top, s[j]);
  }
  if (a.sigmoid) {
#pragma unroll
    for (int j = 0; j < kHeld; ++j) s[j] = sigmoid(s[j]);
    return;
  }
  top = warp_max(top);
#pragma unroll
  for (int j = 0; j < kHeld; ++j) {
    s[j] = expf(__fsub_rn(s[j], top));
    sum = __fadd_rn(sum, s[j]);
  }
  sum = lane_sum<32>(sum);
#pragma unroll
  for (int j = 0; j < kHeld; ++j) s[j] = __fdiv_rn(s[j], sum);
}

// Takes experts outside the best groups out of ranked [experts], in shared memory.
__device__ __forceinline__ void limit_groups(const RouteArgs& a, float* ranked, int lane) {
  const int groups = static_cast<int>(a.groups), width = static_cast<int>(a.experts) / groups;
  float first = -INFINITY, second = -INFINITY;
  for (int i = 0; lane < groups && i < width; ++i) {
    const float v = ranked[lane * width + i];
    if (v > first) second = first, first = v;
    else if (v > second) second = v;
  }
  const float mine = a.sigmoid ? __fadd_rn(first, second) : first;
  int better = 0;
  for (int g = 0; g < groups; ++g) {
    const float other = __shfl_sync(~0u, mine, g);
    better += other > mine || (other == mine && g < lane);
  }
  __syncwarp();
  for (int i = 0; lane < groups && better >= a.top_groups && i < width; ++i) ranked[lane * width + i] = -INFINITY;
  __syncwarp();
}

__global__ void __launch_bounds__(kWarps * 32) route_kernel(RouteArgs a, const float* __restrict__ logits, u32 n, std::int32_t* __restrict__ experts_out,
                                                            float* __restrict__ weights_out) {
  __shared__ float shared_scores[kWarps][kMaxExperts], shared_ranked[kWarps][kMaxExperts];
  const int lane = static_cast<int>(threadIdx.x) & 31, warp = static_cast<int>(threadIdx.x) >> 5;
  const u32 row = blockIdx.x * kWarps + static_cast<u32>(warp);
  const int experts = static_cast<int>(a.experts), chosen = static_cast<int>(a.chosen);
  let_next_start();
  wait_for_previous();
  if (row >= n) return;
  float s[kHeld];
  scores_of(a, logits + static_cast<i64>(row) * experts, lane, s);
  float *scores = shared_scores[warp], *ranked = shared_ranked[warp];
#pragma unroll
  for (int j = 0; j < kHeld; ++j) {
    const int e = lane + 32 * j;
    if (e < experts) scores[e] = s[j], ranked[e] = a.bias == nullptr ? s[j] : __fadd_rn(s[j], a.bias[e]);
  }
  __syncwarp();
  int mine = 0;  // lane k holds choice k
  if (a.replay != nullptr) {
    if (lane < chosen) mine = a.replay[static_cast<i64>(row) * a.ld + lane];
  } else {
    if (a.top_groups < a.groups) limit_groups(a, ranked, lane);
    u32 taken = 0;  // of s[]
    for (int k = 0; k < chosen; ++k) {
      float best = -INFINITY;
      int at = experts;
#pragma unroll
      for (int j = 0; j < kHeld; ++j) {
        const int e = lane + 32 * j;
        if (e >= experts || (taken >> j & 1u) != 0) continue;
        const float v = ranked[e];
        if (v > best || at == experts) best = v == v ? v : -INFINITY, at = e;  // NaN is worst; a lane's numbers ascend
      }
#pragma unroll
      for (int step = 16; step > 0; step /= 2) {
        const float other = __shfl_xor_sync(~0u, best, step);
        const int other_at = __shfl_xor_sync(~0u, at, step);
        if (other_at < experts && (at == experts || other > best || (other == best && other_at < at))) best = other, at = other_at;
      }
      if ((at & 31) == lane) taken |= 1u << (at >> 5);
      if (lane == k) mine = at;
    }
  }
  int place = 0;
  for (int k = 0; k < chosen; ++k) place += __shfl_sync(~0u, mine, k) < mine;
  // In ascending order from here on; `ranked` is free.
  auto* ordered = reinterpret_cast<std::int32_t*>(ranked);
  __syncwarp();
  if (lane < chosen) ordered[place] = mine;
  __syncwarp();
  float sum = 0.f;
  for (int k = 0; k < chosen; ++k) sum = __fadd_rn(sum, scores[ordered[k]]);
  if (lane >= chosen) return;
  const int expert = ordered[lane];
  const float score = scores[expert];
  const i64 out = static_cast<i64>(row) * chosen + lane;
  experts_out[out] = expert;
  weights_out[out] = __fmul_rn(a.normalise ? __fdiv_rn(score, __fadd_rn(sum, a.epsilon)) : score, a.scale);
  if (a.record != nullptr) a.record[static_cast<i64>(row) * a.ld + lane] = static_cast<std::uint16_t>(expert);
}

__global__ void __launch_bounds__(128) gate_kernel(const bf16* __restrict__ x, const bf16* __restrict__ w, u32 n, u32 d, float* __restrict__ out) {
  const u32 lane = threadIdx.x & 31, row = blockIdx.x * 4 + (threadIdx.x >> 5);
  if (row >= n) return;
  float sum = 0.f;
  for (u32 i = lane * 8; i < d; i += 256) {
    float a[8], b[8];
    load8(x + static_cast<i64>(row) * d + i, a), load8(w + i, b);
#pragma unroll
    for (int j = 0; j < 8; ++j) sum = __fmaf_rn(a[j], b[j], sum);
  }
  sum = lane_sum<32>(sum);
  if (lane == 0) out[row] = sigmoid(sum);
}

// Inclusive sums of a thread's value over the block.
__device__ __forceinline__ int block_scan(int v, int* shared) {
  const int lane = static_cast<int>(threadIdx.x) & 31, warp = static_cast<int>(threadIdx.x) >> 5;
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const int before = __shfl_up_sync(~0u, v, step);
    if (lane >= step) v += before;
  }
  __syncthreads();
  if (lane == 31) shared[warp] = v;
  __syncthreads();
  int sum = 0;
  for (int w = 0; w < warp; ++w) sum += shared[w];
  return v + sum;
}

// One block. Thread e < num_experts keeps expert e's books.
__global__ void __launch_bounds__(kSortThreads) sort_kernel(const std::int32_t* __restrict__ experts, u32 entries, int num_experts, int tokens,
                                                            std::int32_t* __restrict__ sorted, ExpertTile* __restrict__ tiles,
                                                            std::int32_t* __restrict__ count) {
  __shared__ int load[kMaxExperts], next[kMaxExperts], scan[kSortThreads / 32];
  const int thread = static_cast<int>(threadIdx.x);
  let_next_start();
  if (thread < num_experts) load[thread] = 0;
  __syncthreads();
  wait_for_previous();
  for (u32 i = threadIdx.x; i < entries; i += kSortThreads) atomicAdd(&load[experts[i]], 1);
  __syncthreads();
  const int mine = thread < num_experts ? load[thread] : 0, my_tiles = (mine + tokens - 1) / tokens;
  const int end = block_scan(mine, scan), tiles_end = block_scan(my_tiles, scan);
  if (thread < num_experts) next[thread] = end - mine;
  for (int t = 0; t < my_tiles; ++t)
    tiles[tiles_end - my_tiles + t] = {thread, end - mine + t * tokens, min(tokens, mine - t * tokens)};
  if (thread == kSortThreads - 1) *count = tiles_end;
  __syncthreads();
  for (u32 i = threadIdx.x; i < entries; i += kSortThreads) sorted[atomicAdd(&next[experts[i]], 1)] = static_cast<std::int32_t>(i);
}

}  // namespace

void route_rows(Stream s, const RouteArgs& a, const float* logits, i64 n, std::int32_t* experts, float* weights) {
  if (n == 0) return;
  R1_CHECK(a.experts >= 1 && a.experts <= kMaxExperts && a.chosen >= 1 && a.chosen <= std::min(a.experts, kMaxExpertsPerToken), a.chosen, " of ",
           a.experts, " experts, at most ", kMaxExpertsPerToken, " of ", kMaxExperts);
  R1_CHECK(a.groups >= 1 && a.groups <= kMaxExpertGroups && a.experts % a.groups == 0, a.experts, " experts in ", a.groups, " groups");
  launch_early(s, route_kernel, dim3(blocks_for(n, kWarps, "route_rows")), dim3(kWarps * 32), 0, a, logits, static_cast<u32>(n), experts, weights);
}

void sigmoid_gate(Stream s, const bf16* x, const bf16* w, i64 n, i64 d, float* out) {
  if (n == 0) return;
  check_width(d, 8, i64{1} << 20, "sigmoid_gate");
  gate_kernel<<<blocks_for(n, 4, "sigmoid_gate"), 128, 0, s>>>(x, w, static_cast<u32>(n), static_cast<u32>(d), out);
  check_launch("sigmoid_gate");
}

void sort_by_expert(Stream s, const std::int32_t* experts, i64 entries, i64 num_experts, i64 tokens, std::int32_t* sorted, ExpertTile* tiles,
                    std::int32_t* count) {
  R1_CHECK(num_experts >= 1 && num_experts <= kMaxExperts && entries < (i64{1} << 31), entries, " entries of ", num_experts, " experts");
  launch_early(s, sort_kernel, dim3(1), dim3(kSortThreads), 0, experts, static_cast<u32>(entries), static_cast<int>(num_experts), static_cast<int>(tokens),
               sorted, tiles, count);
}

}  // namespace r1::gpu
