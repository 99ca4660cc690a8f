// Divergences over the vocabulary: a block a row, of one size for every n. Three walks over a row: its sums, the divergence, the
// gradient; the second and third find much of it in the cache.
#include "kernels/gpu/divergence.h"

#include "kernels/gpu/vocab_draw.cuh"

namespace r1::gpu {
namespace {

constexpr int kThreads = 512;
// As in distill/kd_loss.cpp: tails that rounded away would make a divergence infinite.
constexpr float kLeastTeacherTail = -27.631021f;  // ln 1e-12
constexpr float kLeastTail = 1e-30f;

// ln p and p of a logit.
struct Distribution {
  float scale, m, log_s, inverse_s;
  __device__ __forceinline__ float log_p(float logit) const { return fmaf(__fmaf_rn(logit, scale, -m), kLn2, -log_s); }
  __device__ __forceinline__ float p(float logit) const { return exp2_fast(__fmaf_rn(logit, scale, -m)) * inverse_s; }
};

__device__ __forceinline__ Distribution distribution(const SoftmaxSums& a, float scale) { return {scale, a.m, logf(a.s), __frcp_rn(a.s)}; }

// One outcome's part of the divergence, and g = d(divergence) / d ln q.
struct Term {
  float loss, g;
};
__device__ __forceinline__ Term term(float log_p, float p, float log_q, float q, float beta) {
  if (beta == 0.f) return {p > 0.f ? p * (log_p - log_q) : 0.f, -p};
  if (beta == 1.f) {
    const float loss = q > 0.f ? q * (log_q - log_p) : 0.f;
    return {loss, loss + q};
  }
  const float m = fmaf(beta, p, (1.f - beta) * q);
  if (m == 0.f) return {0.f, 0.f};
  const float log_m = logf(m), q_part = q > 0.f ? (1.f - beta) * q * (log_q - log_m) : 0.f;
  return {(p > 0.f ? beta * p * (log_p - log_m) : 0.f) + q_part, q_part};
}

// f(id, logit) for this thread's ids of a row, ascending.
template <class F> __device__ __forceinline__ void for_each_id(const float* row, i64 v, F&& f) {
  i64 at = threadIdx.x * 4;
#pragma unroll 2
  for (; at + 4 <= v; at += kThreads * 4) {
    const float4 x = load4(row + at);
    f(at, x.x), f(at + 1, x.y), f(at + 2, x.z), f(at + 3, x.w);
  }
  for (; at < v; ++at) f(at, row[at]);  // at most one thread has a rest
}

// d[id] = f(id, logit) for ids below v, 0 up to ld_d; eight a thread.
template <class F> __device__ __forceinline__ void write_gradient(const float* row, i64 ld, i64 v, bf16* d, i64 ld_d, F&& f) {
  for (i64 at = threadIdx.x * 8; at < ld_d; at += kThreads * 8) {
    float out[8];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const i64 first = at + half * 4;
      const float4 x = first + 4 <= ld ? load4(row + first) : make_float4(0.f, 0.f, 0.f, 0.f);
      const float in[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
      for (int j = 0; j < 4; ++j) out[half * 4 + j] = first + j < v ? f(first + j, in[j]) : 0.f;
    }
    store8(d + at, out);
  }
}

struct Row {
  const float* logits;
  i64 ld, v;
  float scale, beta, square, factor;  // temperature^2, and weight * temperature: (g - q sum g) / t, times t^2
  float* loss;
  bf16* d;
  i64 ld_d;
};

__global__ void __launch_bounds__(kThreads) divergence_kernel(Row a, const float* teacher, i64 ld_teacher) {
  __shared__ SoftmaxSums segments[kSegments];
  __shared__ float losses[32], slopes[32];
  const i64 row = blockIdx.x;
  const float *z = a.logits + row * a.ld, *y = teacher + row * ld_teacher;
  const Distribution q = distribution(row_statistics<false>(z, a.v, a.scale, segments), a.scale);
  __syncthreads();  // segments are written again
  const Distribution p = distribution(row_statistics<false>(y, a.v, a.scale, segments), a.scale);
  float loss = 0.f, sum_g = 0.f;
  for_each_id(z, a.v, [&](i64 id, float logit) {
    const float other = y[id];
    const Term t = term(p.log_p(other), p.p(other), q.log_p(logit), q.p(logit), a.beta);
    loss += t.loss, sum_g += t.g;
  });
  loss = row_sum(loss, losses);
  sum_g = row_sum(sum_g, slopes);
  if (threadIdx.x == 0) a.loss[row] = loss * a.square;
  if (a.d == nullptr) return;
  write_gradient(z, a.ld, a.v, a.d + row * a.ld_d, a.ld_d, [&](i64 id, float logit) {
    const float other = y[id], mine = q.p(logit);
    return a.factor * (term(p.log_p(other), p.p(other), q.log_p(logit), mine, a.beta).g - mine * sum_g);
  });
}

__global__ void __launch_bounds__(kThreads) top_k_kernel(Row a, TopKRows teacher) {
  extern __shared__ u32 kept[];  // a bit an id
  __shared__ SoftmaxSums segments[kSegments];
  __shared__ float losses[32], slopes[32], tails[32];
  const i64 row = blockIdx.x;
  const float* z = a.logits + row * a.ld;
  const std::int32_t* ids = teacher.ids + row * teacher.k;
  const float* logprobs = teacher.logprobs + row * teacher.k;
  for (i64 i = threadIdx.x; i < (a.v + 31) / 32; i += kThreads) kept[i] = 0;
  const Distribution q = distribution(row_statistics<false>(z, a.v, a.scale, segments), a.scale);  // a barrier lies inside
  float loss = 0.f, sum_g = 0.f, tail = 0.f;
  for (i64 i = threadIdx.x; i < teacher.k; i += kThreads) {
    const std::int32_t id = ids[i];
    if (id < 0 || id >= a.v) {
      loss = NAN;
      continue;
    }
    atomicOr(&kept[id >> 5], 1u << (id & 31));
    const Term t = term(logprobs[i], expf(logprobs[i]), q.log_p(z[id]), q.p(z[id]), a.beta);
    loss += t.loss, sum_g += t.g;
  }
  __syncthreads();
  const auto is_kept = [&](i64 id) { return (kept[id >> 5] >> (id & 31) & 1u) != 0; };
  for_each_id(z, a.v, [&](i64 id, float logit) { tail += is_kept(id) ? 0.f : q.p(logit); });
  loss = row_sum(loss, losses);
  sum_g = row_sum(sum_g, slopes);
  tail = fmaxf(row_sum(tail, tails), kLeastTail);
  Term rest{0.f, 0.f};
  if (teacher.k < a.v) {
    const float log_p = fmaxf(teacher.tails[row], kLeastTeacherTail);
    rest = term(log_p, expf(log_p), logf(tail), tail, a.beta);
  }
  loss += rest.loss, sum_g += rest.g;
  if (threadIdx.x == 0) a.loss[row] = loss * a.square;
  if (a.d == nullptr) return;
  bf16* d = a.d + row * a.ld_d;
  const float of_rest = rest.g / tail - sum_g;
  write_gradient(z, a.ld, a.v, d, a.ld_d, [&](i64, float logit) { return a.factor * q.p(logit) * of_rest; });
  __syncthreads();  // the kept ids are written over
  for (i64 i = threadIdx.x; i < teacher.k; i += kThreads) {
    const std::int32_t id = ids[i];
    if (id < 0 || id >= a.v) continue;
    const float mine = q.p(z[id]);
    const float g = term(logprobs[i], expf(logprobs[i]), q.log_p(z[id]), mine, a.beta).g;
    d[id] = static_cast<bf16>(pack(a.factor * (g - mine * sum_g), 0.f));
  }
}

Row checked(const DivergenceArgs& a, i64 n, float* loss, bf16* d, i64 ld_d) {
  R1_CHECK(n > 0 && n <= 0x7fffffff, "divergence: ", n, " rows");
  R1_CHECK(a.v > 0 && a.v <= a.ld && a.v <= 0x7fffffff && a.ld % 4 == 0, "divergence: ", a.v, " of ", a.ld, " logits a row; rows are a multiple of 4");
  R1_CHECK(a.temperature > 0.f && a.temperature < INFINITY, "divergence: temperature ", a.temperature, "; it is above 0");
  R1_CHECK(a.beta >= 0.f && a.beta <= 1.f, "divergence: beta ", a.beta, "; it is in [0, 1]");
  R1_CHECK(loss != nullptr, "divergence: no place for the losses");
  R1_CHECK(d == nullptr || (ld_d % 8 == 0 && ld_d >= a.v), "divergence: gradient rows of ", ld_d, " for ", a.v, " logits; a multiple of 8, no less");
  return {a.logits, a.ld, a.v, vocab_scale(a.temperature), a.beta, a.temperature * a.temperature, a.weight * a.temperature, loss, d, ld_d};
}

}  // namespace

void divergence_rows(Stream s, const DivergenceArgs& args, const float* teacher, i64 ld_teacher, i64 n, float* loss, bf16* d, i64 ld_d) {
  if (n == 0) return;
  const Row row = checked(args, n, loss, d, ld_d);
  R1_CHECK(ld_teacher >= args.v && ld_teacher % 4 == 0, "divergence: ", args.v, " of ", ld_teacher, " logits of a teacher's row; rows are a multiple of 4");
  divergence_kernel<<<static_cast<unsigned>(n), kThreads, 0, s>>>(row, teacher, ld_teacher);
  check_launch("divergence_rows");
}

void divergence_rows_top_k(Stream s, const DivergenceArgs& args, const TopKRows& teacher, i64 n, float* loss, bf16* d, i64 ld_d) {
  if (n == 0) return;
  const Row row = checked(args, n, loss, d, ld_d);
  R1_CHECK(teacher.k > 0 && teacher.k <= args.v, "divergence: the top ", teacher.k, " of a teacher for a student of ", args.v);
  R1_CHECK(args.v <= kMaxTopKIds, "divergence: ", args.v, " ids, with a stored teacher at most ", kMaxTopKIds);
  const auto shared = static_cast<std::size_t>((args.v + 31) / 32) * sizeof(u32);
  top_k_kernel<<<static_cast<unsigned>(n), kThreads, shared, s>>>(row, teacher);
  check_launch("divergence_rows_top_k");
}

}  // namespace r1::gpu
