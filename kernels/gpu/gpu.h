// GPU kernels on raw device pointers: the same operations as kernels/cpu.h, launched on a stream. No torch. Row-major,
// contiguous unless a leading dimension is given; counts and leading dimensions are in elements.
//
// The promise of this file is that of cpu.h: every output element is computed by one fixed sequence of operations that
// depends on its own row only, never on the number of rows or on the place of the row in a batch. So a token's
// log-probability has the same bits in prefill, decode and training. Sums over rows (weight gradients, norms of the
// gradient) run in an order that is a function of the number of rows alone.
//
// All calls are asynchronous on `s` and may be captured into a CUDA graph, unless they say otherwise. Pointers are device
// memory, 16-byte aligned; widths (D, F, hd) are multiples of 8. Errors of the CUDA runtime throw DeviceError.
#pragma once

#include <cstddef>
#include <cstdint>

struct CUstream_st;

namespace r1::gpu {

using Stream = CUstream_st*;
using bf16 = std::uint16_t;  // raw bits of a bfloat16

// ---- conversions ----------------------------------------------------------------------------------------------------
void to_float(Stream s, const bf16* in, float* out, std::int64_t n);
void to_bf16(Stream s, const float* in, bf16* out, std::int64_t n);

// ---- rows, forward ----------------------------------------------------------------------------------------------------
// out[i] = table[tokens[i]] as float32. A token below 0 stands for last_token[-1 - token] (may be null if there is none).
void embed(Stream s, const bf16* table, const std::int32_t* tokens, const std::int32_t* last_token, std::int64_t n,
           std::int64_t d, float* out);

// out[i] = w * bf16(x[rows[i]] / rms(x[rows[i]])), x float32 [..][D]; rows null = i. rstd [n] or null: 1 / rms. The cast
// before the product with w is HF's and cpu.h's. D is at most 8192.
void rms_norm(Stream s, const float* x, const std::int32_t* rows, std::int64_t n, std::int64_t d, const bf16* w, float eps,
              bf16* out, float* rstd);

// In place on the first heads + kv_heads heads of qkv [n][ld]: RMSNorm over head_dim with q_norm, k_norm [hd] where these
// are not null (Qwen3), then the rotary embedding by halves (HF): with c, s = cos, sin [positions][hd/2] float32.
// raw [n][(heads + kv_heads) * hd], or null: q, k before the norm; rstd [n][heads + kv_heads], or null: of the norm, written
// only with norms. head_dim is a multiple of 16, at most 256; ld a multiple of 8.
struct QkArgs {
  std::int64_t heads = 0, kv_heads = 0, head_dim = 0, ld = 0;
  const std::int32_t* positions = nullptr;  // [n]
  const float *cos = nullptr, *sin = nullptr;
  const bf16 *q_norm = nullptr, *k_norm = nullptr;
  float eps = 0.f;
};
void qk_norm_rope(Stream s, const QkArgs& args, bf16* qkv, std::int64_t n, bf16* raw, float* rstd);

// out[i][j] = silu(gate[i][j]) * up[i][j], gate_up [n][2F], computed in float32.
void swiglu(Stream s, const bf16* gate_up, std::int64_t n, std::int64_t f, bf16* out);

// ---- keys and values --------------------------------------------------------------------------------------------------
// Pages of kPage positions. One layer's part of a page holds, a key/value head after the other, the keys [kPage][hd] and then the
// values [kPage][hd], each row's 16-byte pieces in the order that shared memory wants (kv_piece() in kv_layout.h).
inline constexpr std::int64_t kPage = 64;
struct KvPages {
  bf16* base = nullptr;          // of one layer
  std::int64_t page_stride = 0;  // elements between pages of a layer: at least kv_heads * 2 * kPage * head_dim
  std::int64_t kv_heads = 0, head_dim = 0;
};
// For i < n: the key and value rows src[i] (null = i) of k, v [..][ld] go to slot dst[i] = page * kPage + offset; below 0:
// nowhere. n is read from *count (device memory, at most n) where count is not null. head_dim is a multiple of 16, at most 256.
void write_kv(Stream s, const KvPages& pages, const bf16* k, const bf16* v, std::int64_t ld, const std::int32_t* src,
              const std::int32_t* dst, std::int64_t n, const std::int32_t* count = nullptr);
// Whole pages of all layers: page to[i] = page from[i]; `bytes` of a page in one layer, page_bytes between pages, layer_bytes
// between layers, multiples of 16. No page is both source and destination.
void copy_pages(Stream s, std::byte* base, std::int64_t page_bytes, std::int64_t bytes, std::int64_t layer_bytes,
                std::int64_t layers, const std::int32_t* from, const std::int32_t* to, std::int64_t n);

// ---- rows, backward ---------------------------------------------------------------------------------------------------
// Scratch that sums over rows need, for any n: bytes for a width of d (D of rms_norm, head_dim of qk_norm_rope, width of a bias).
std::size_t row_sum_scratch_bytes(std::int64_t d);

// y = rms_norm(x): adds dx to d_x [n][D] float32, the sum of dy * x * rstd over the rows to dw [D] float32.
// d_x may be stored instead of added (store = true). rows as in the forward: row i of dy belongs to x[rows[i]], and d_x is
// [n][D] of the n gathered rows.
void rms_norm_backward(Stream s, const bf16* dy, const float* x, const std::int32_t* rows, const float* rstd, const bf16* w,
                       std::int64_t n, std::int64_t d, float* d_x, bool store, float* dw, void* scratch);

// In place on d_qkv [n][ld] (gradients of the rotated, normed q, k; v is left alone): what qk_norm_rope() took in.
// raw, rstd as kept by it (used only with norms, which come together); adds to dq_norm, dk_norm [hd] float32.
void qk_norm_rope_backward(Stream s, const QkArgs& args, bf16* d_qkv, std::int64_t n, const bf16* raw, const float* rstd,
                           float* dq_norm, float* dk_norm, void* scratch);

// d_gate_up from d_out [n][F]; also writes out = swiglu(gate_up) again where out is not null.
void swiglu_backward(Stream s, const bf16* d_out, const bf16* gate_up, std::int64_t n, std::int64_t f, bf16* d_gate_up, bf16* out);

// db[j] += sum_i dy[i][j], dy [n][ld], j < width.
void bias_gradient(Stream s, const bf16* dy, std::int64_t n, std::int64_t ld, std::int64_t width, float* db, void* scratch);

// to[target[u]] += sum of from[order[i]] for i in [first[u], first[u + 1]), in that order; u < groups. float32 rows of width d.
// For embedding gradients (target = token) and rows that several predictors share.
void add_row_groups(Stream s, float* to, const float* from, std::int64_t d, const std::int32_t* target, const std::int32_t* first,
                    const std::int32_t* order, std::int64_t groups);
// The same into bfloat16 rows: a group's sum is float32, and what it is added to is rounded once.
void add_row_groups(Stream s, bf16* to, const float* from, std::int64_t d, const std::int32_t* target, const std::int32_t* first,
                    const std::int32_t* order, std::int64_t groups);

// out[i][j] = bf16(x[i][j] * c[i]); float32 in place: x[i][j] *= c[i].
void scale_rows(Stream s, const bf16* x, const float* c, std::int64_t n, std::int64_t d, bf16* out);
void scale_rows(Stream s, float* x, const float* c, std::int64_t n, std::int64_t d);

// ---- distribution over the vocabulary ---------------------------------------------------------------------------------
// logits [n][ld] float32, ld a multiple of 4; the first v entries take part. One block of threads a row; a row's segments, lanes and
// merges are the same in all three calls and for every n, so that sampler and learner give the same bits. Arguments out of range
// throw.
struct LogprobArgs {
  const float* logits = nullptr;
  std::int64_t ld = 0, v = 0;
  float temperature = 1.f;
};
// ln p(targets[i]) under softmax(logits / temperature); entropies (nats), lse, tops: [n] or null. tops: ln p of the likeliest token,
// with the bits that logprobs has where the target is one.
void logprob_rows(Stream s, const LogprobArgs& args, const std::int32_t* targets, std::int64_t n, float* logprobs,
                  float* entropies, float* lse, float* tops = nullptr);
// d[i][j] = (c1 (1[j = target] - p_j) - c2 p_j (ln p_j + H)) / temperature as bf16, 0 for v <= j < ld_d. c1, c2 [n]; c1 null = 1,
// c2 null = 0. lse, entropies (needed with c2 only): as logprob_rows() gave them. The temperature is above 0, ld_d a multiple of 8.
void logprob_rows_backward(Stream s, const LogprobArgs& args, const std::int32_t* targets, std::int64_t n, const float* lse,
                           const float* entropies, const float* c1, const float* c2, bf16* d, std::int64_t ld_d);

// One draw: filters in the order temperature, top-k, top-p, min-p, as cpu::sample_row. Device array.
struct Draw {
  std::int32_t row = 0;         // of logits
  std::int32_t slot = 0;        // last_token[slot] receives the token; below 0: nowhere
  float temperature = 1.f;      // 0 = greedy: ties go to the smallest id; the log-probability is that at temperature 1
  std::int32_t top_k = 0;
  float top_p = 1.f, min_p = 0.f;
  double uniform = 0.5;         // in (0,1): the inverse of the cumulative distribution in id order
};
struct Drawn {
  std::int32_t token = 0;       // -1: a logit was NaN or all were -inf
  float logprob = 0.f, entropy = 0.f;  // nats; under the distribution drawn from; after temperature, before filters
};
// filtered = false promises that no draw has top_k, top_p or min_p in force (the quick kernel).
void sample_rows(Stream s, const float* logits, std::int64_t ld, std::int64_t v, const Draw* draws, std::int64_t n, bool filtered,
                 Drawn* out, std::int32_t* last_token);

// ---- optimizer --------------------------------------------------------------------------------------------------------
struct AdamWArgs { float lr, beta1, beta2, eps, weight_decay, bias1, bias2, grad_scale; };  // biasN = 1 - betaN^t
// One decoupled-weight-decay step over n elements (arXiv:1711.05101), one pass; g is multiplied by grad_scale
// first; live (bf16 copy of p, may be null) is rewritten.
void adamw(Stream s, float* p, float* m, float* v, const float* g, bf16* live, std::int64_t n, const AdamWArgs& args);
std::size_t reduce_scratch_bytes();  // of the two below
void sum_of_squares(Stream s, const float* x, std::int64_t n, double* out, void* scratch);           // out: one double on the device
void sum_of_squares(Stream s, const bf16* x, std::int64_t n, double* out, void* scratch);
void first_non_finite(Stream s, const float* x, std::int64_t n, std::int64_t* out, void* scratch);   // -1 = none
void first_non_finite(Stream s, const bf16* x, std::int64_t n, std::int64_t* out, void* scratch);

}  // namespace r1::gpu
