// Log-probabilities of given tokens and their gradients; drawing a token from the whole distribution.
#include "kernels/gpu/vocab_draw.cuh"

namespace r1::gpu {
namespace {

template <bool kEntropy>
__global__ void __launch_bounds__(kVocabThreads) logprob_kernel(const float* logits, i64 ld, i64 v, float scale, const std::int32_t* targets,
                                                                float* logprobs, float* entropies, float* lse, float* tops) {
  __shared__ SoftmaxSums segments[kSegments];
  const float* row = logits + blockIdx.x * ld;
  const SoftmaxSums all = row_statistics<kEntropy>(row, v, scale, segments);
  if (threadIdx.x != 0) return;
  logprobs[blockIdx.x] = log_probability(row[targets[blockIdx.x]], scale, all);
  if (lse != nullptr) lse[blockIdx.x] = log_sum(all);
  if (tops != nullptr) tops[blockIdx.x] = __fmaf_rn(0.f, kLn2, -logf(all.s));  // log_probability() of a score that is the maximum
  if constexpr (kEntropy) entropies[blockIdx.x] = entropy_of(all);
}

constexpr int kBackwardThreads = 256;

// Eight columns a thread; `across` blocks a row.
__global__ void __launch_bounds__(kBackwardThreads) backward_kernel(const float* logits, i64 ld, i64 v, float scale, float inverse_t,
                                                                    const std::int32_t* targets, const float* lse, const float* entropies,
                                                                    const float* c1s, const float* c2s, bf16* d, i64 ld_d, unsigned across) {
  const i64 row = blockIdx.x / across, at = (static_cast<i64>(blockIdx.x % across) * kBackwardThreads + threadIdx.x) * 8;
  if (at >= ld_d) return;
  const float* z = logits + row * ld + at;
  const float shift = lse[row] * kLog2OfE, c1 = (c1s == nullptr ? 1.f : c1s[row]) * inverse_t, c2 = c2s == nullptr ? 0.f : c2s[row] * inverse_t;
  const float h = c2 != 0.f ? entropies[row] : 0.f;
  const i64 target = targets[row] - at;
  float out[8];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float4 x = make_float4(0.f, 0.f, 0.f, 0.f);
    if (at + half * 4 + 4 <= ld) x = __ldcs(reinterpret_cast<const float4*>(z + half * 4));
    const float in[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int column = half * 4 + j;
      const float t = fmaf(in[j], scale, -shift), p = exp2_fast(t);
      float g = c1 * ((column == target ? 1.f : 0.f) - p);
      if (c2 != 0.f && p > 0.f) g -= c2 * p * fmaf(t, kLn2, h);
      out[column] = at + column < v ? g : 0.f;
    }
  }
  store8(d + row * ld_d + at, out);
}

__global__ void __launch_bounds__(kVocabThreads) sample_kernel(const float* logits, i64 ld, i64 v, const Draw* draws, Drawn* out,
                                                               std::int32_t* last_token) {
  __shared__ SoftmaxSums segments[kSegments];
  __shared__ Mass masses[kSegments];
  __shared__ std::int32_t chosen;
  const Draw draw = draws[blockIdx.x];
  const float* row = logits + draw.row * ld;
  const float scale = scale_of(draw.temperature);
  const SoftmaxSums all = row_statistics<true>(row, v, scale, segments);
  if (threadIdx.x == 0) chosen = -1;
  __syncthreads();
  const bool good = all.s > 0.f && all.s < INFINITY && fabsf(all.m) < INFINITY;
  if (good) {
    if (draw.temperature == 0.f) greedy(row, v, all, segments, &chosen);
    else draw_from_all(row, v, {all, scale, Cut()}, segments, masses, draw.uniform, &chosen);
  }
  __syncthreads();
  if (threadIdx.x == 0) finish_draw(row, scale, all, all.s, all.m, chosen, draw.slot, out + blockIdx.x, last_token);
}

void check_logits(i64 n, i64 ld, i64 v, const char* what) {
  R1_CHECK(n > 0 && n <= 0x7fffffff, what, ": ", n, " rows");
  R1_CHECK(v <= 0x7fffffff, what, ": ", v, " logits a row; ids have 31 bits");
  R1_CHECK(v > 0 && v <= ld && ld % 4 == 0, what, ": ", v, " of ", ld, " logits a row; rows are a multiple of 4");
}

}  // namespace

void logprob_rows(Stream s, const LogprobArgs& a, const std::int32_t* targets, i64 n, float* logprobs, float* entropies, float* lse, float* tops) {
  if (n == 0) return;
  check_logits(n, a.ld, a.v, "logprob_rows");
  R1_CHECK(a.temperature >= 0.f && a.temperature < INFINITY, "logprob_rows: temperature ", a.temperature, "; it is finite and at least 0");
  const auto grid = static_cast<unsigned>(n);
  if (entropies != nullptr)
    logprob_kernel<true><<<grid, vocab_threads(n), 0, s>>>(a.logits, a.ld, a.v, vocab_scale(a.temperature), targets, logprobs, entropies, lse, tops);
  else
    logprob_kernel<false><<<grid, vocab_threads(n), 0, s>>>(a.logits, a.ld, a.v, vocab_scale(a.temperature), targets, logprobs, nullptr, lse, tops);
  check_launch("logprob_rows");
}

void logprob_rows_backward(Stream s, const LogprobArgs& a, const std::int32_t* targets, i64 n, const float* lse, const float* entropies,
                           const float* c1, const float* c2, bf16* d, i64 ld_d) {
  if (n == 0) return;
  check_logits(n, a.ld, a.v, "logprob_rows_backward");
  R1_CHECK(a.temperature > 0.f && a.temperature < INFINITY, "logprob_rows_backward: temperature ", a.temperature,
           "; a gradient needs one above 0");
  R1_CHECK(lse != nullptr, "logprob_rows_backward: lse is missing; logprob_rows() gives it");
  R1_CHECK(c2 == nullptr || entropies != nullptr, "logprob_rows_backward: c2 needs entropies; logprob_rows() gives them");
  R1_CHECK(ld_d % 8 == 0 && ld_d >= a.v, "logprob_rows_backward: gradient rows of ", ld_d, " for ", a.v, " logits; a multiple of 8, no less");
  const i64 across = (ld_d / 8 + kBackwardThreads - 1) / kBackwardThreads;
  R1_CHECK(across * n <= 0x7fffffff, "logprob_rows_backward: ", n, " rows of ", ld_d, "; the limit is ", 0x7fffffff / across, " rows: split the batch");
  backward_kernel<<<static_cast<unsigned>(across * n), kBackwardThreads, 0, s>>>(a.logits, a.ld, a.v, vocab_scale(a.temperature), 1.f / a.temperature,
                                                                              targets, lse, entropies, c1, c2, d, ld_d, static_cast<unsigned>(across));
  check_launch("logprob_rows_backward");
}

void sample_rows(Stream s, const float* logits, i64 ld, i64 v, const Draw* draws, i64 n, bool filtered, Drawn* out, std::int32_t* last_token) {
  if (n == 0) return;
  check_logits(n, ld, v, "sample_rows");
  if (filtered) sample_filtered(s, logits, ld, v, draws, n, out, last_token);
  else sample_kernel<<<static_cast<unsigned>(n), vocab_threads(n), 0, s>>>(logits, ld, v, draws, out, last_token);
  check_launch("sample_rows");
}

}  // namespace r1::gpu
