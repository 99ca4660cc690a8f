// CPU kernels on raw host pointers: packed matrix products, attention over KV blocks, norms, rotary embedding,
// activation, sampling. No torch. Row-major, contiguous unless a leading dimension is given.
//
// The promise of this file: **every output element is computed by one fixed sequence of operations that depends on
// its own row only**, never on the number of rows, on the place of the row in a batch, or on threads. So a token's
// log-probability has the same bits in prefill, decode and training (docs/decisions/0004).
// One instruction set serves a whole process; results of two instruction sets differ by rounding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "core/compute_pool.h"

namespace r1::cpu {

using bf16 = std::uint16_t;  // raw bits of a bfloat16

enum class Type : std::uint8_t { kF32, kBF16 };

// kAmx needs the kernel's permission for tile state, which best_isa() asks for. Each is tested where the CPU has it.
enum class Isa : std::uint8_t { kPortable, kAvx2, kAvx512, kAvx512Bf16, kAmx };
Isa best_isa();              // the best that this CPU and kernel really run; probed once
Isa isa();                   // the one in force: best_isa() unless set
void set_isa(Isa);           // throws DeviceError if this CPU lacks it; not while kernels run; packed matrices
                             // made before must be packed again
const char* to_string(Isa);

// Host memory for weights, KV caches and activations: 64-byte aligned, contents undefined, on large pages where the
// system gives them: a product over a large weight runs up to 1.6 times faster so. Small requests share pages, so take
// what lives long. Thread-safe; throws std::bad_alloc.
std::shared_ptr<std::byte> allocate(std::size_t bytes);

float to_float(bf16);
bf16 to_bf16(float);         // round to nearest, ties to even; NaN stays NaN
void convert(ComputePool&, const float* in, bf16* out, std::int64_t n);
void convert(ComputePool&, const bf16* in, float* out, std::int64_t n);

// ---- matrix product: C[M,N] = A[M,K] * B[N,K]^T ------------------------------------------------------------
// B is packed once and used often. Movable; thread-safe to read.
class PackedMatrix {
 public:
  PackedMatrix() = default;
  std::int64_t rows() const { return rows_; }    // N: columns of C
  std::int64_t depth() const { return depth_; }  // K: the summed index
  Type type() const { return type_; }
  bool empty() const { return rows_ == 0; }
  std::size_t bytes() const { return bytes_; }
  const void* data() const { return data_.get(); }
  Isa isa() const { return isa_; }               // whose layout; gemm refuses another

 private:
  friend void reshape(PackedMatrix&, Type, std::int64_t, std::int64_t);
  friend void pack(ComputePool&, const void*, std::int64_t, PackedMatrix&);
  friend void pack_transposed(ComputePool&, const void*, std::int64_t, PackedMatrix&);
  std::int64_t rows_ = 0, depth_ = 0;
  Type type_ = Type::kF32;
  Isa isa_ = Isa::kPortable;
  std::size_t bytes_ = 0, capacity_ = 0;
  std::shared_ptr<std::byte> data_;  // 64-byte aligned; layout by isa()
};
PackedMatrix make_packed(Type type, std::int64_t rows, std::int64_t depth);  // allocates, contents undefined
// Another shape in the same memory where that is large enough; contents undefined.
void reshape(PackedMatrix&, Type type, std::int64_t rows, std::int64_t depth);
// From b[rows][ld >= depth] of the matrix's type.
void pack(ComputePool&, const void* b, std::int64_t ld, PackedMatrix& out);
// From b[depth][ld >= rows]: packs the transpose, e.g. W[out,in] for dX = dY * W, or X[tokens,in] for dW = dY^T * X.
void pack_transposed(ComputePool&, const void* b, std::int64_t ld, PackedMatrix& out);

// kStore writes C in `out_type`; kAdd adds to a float32 C (residual streams, gradient accumulation).
enum class Store : std::uint8_t { kStore, kAdd };
struct GemmArgs {
  const void* a = nullptr;        // [M][lda], type of B
  std::int64_t m = 0, lda = 0;
  const PackedMatrix* b = nullptr;
  void* c = nullptr;              // [M][ldc]
  std::int64_t ldc = 0;
  Type out_type = Type::kF32;
  Store store = Store::kStore;
  const void* bias = nullptr;     // [N], type of B, or null; added in float32 before the store
  // A's rows go on with zeros up to padded_depth(): they are then read in place, where an odd depth else costs a copy.
  bool a_padded = false;
  // A part of B: columns [n_first, n_first + n_count) of C, summed over [k_first, k_first + k_count) only; A, C and bias then
  // begin there. n_first is a multiple of 64, k_first of 32, and k_count too unless it reaches the end; -1 = to the end.
  std::int64_t n_first = 0, n_count = -1, k_first = 0, k_count = -1;
};
std::int64_t padded_depth(std::int64_t depth);  // the next multiple of 32
// bf16 products are exact and summed in float32 over k in ascending order (pairs at a time where the CPU does so).
void gemm(ComputePool&, const GemmArgs&);

// out[cols][rows] = in[rows][ld]^T for `type` elements.
void transpose(ComputePool&, const void* in, std::int64_t rows, std::int64_t cols, std::int64_t ld, void* out,
               std::int64_t out_ld, Type type);

// ---- rows ---------------------------------------------------------------------------------------------------
// y[m] = g * cast(x[m] / sqrt(mean(x[m]^2) + eps)): statistics in float32, the cast to `type` comes before the product
// with g, as HF does. x [M][D] float32 (the residual stream), g and y of `type`; rstd [M] float32 may be null.
// kUnitOffset is Gemma's: y = cast((1 + g) x / sqrt(...)).
enum class Gain : std::uint8_t { kPlain, kUnitOffset };
void rms_norm(ComputePool&, const float* x, std::int64_t m, std::int64_t d, const void* g, float eps, void* y, Type type,
              float* rstd, Gain gain = Gain::kPlain);
// The same over rows of `type` (QK-norm): x [M][ld] heads of width d at a stride, in place allowed.
void rms_norm_heads(ComputePool&, const void* x, std::int64_t m, std::int64_t heads, std::int64_t d, std::int64_t ld,
                    const void* g, float eps, void* y, std::int64_t y_ld, Type type, float* rstd, Gain gain = Gain::kPlain);
// dx [M][D] float32 += gradient of rms_norm; dg [D] float32 += sum over rows (fixed order).
void rms_norm_backward(ComputePool&, const float* x, const void* g, const float* rstd, const void* dy, Type type,
                       std::int64_t m, std::int64_t d, float* dx, float* dg, Gain gain = Gain::kPlain);
// As above for heads; dx is of `type`, stored (not added), dx_ld apart.
void rms_norm_heads_backward(ComputePool&, const void* x, std::int64_t ld, const void* g, const float* rstd, const void* dy,
                             std::int64_t dy_ld, Type type, std::int64_t m, std::int64_t heads, std::int64_t d, void* dx,
                             std::int64_t dx_ld, float* dg, Gain gain = Gain::kPlain);

// Rotates `heads` heads of width d in place, half-split pairs (i, i + d/2); row m sits at positions[m]. cos, sin
// [max_position][d/2] float32. sign -1 rotates back (the backward pass).
void rope(ComputePool&, void* x, std::int64_t m, std::int64_t heads, std::int64_t d, std::int64_t ld,
          const std::int32_t* positions, const float* cos, const float* sin, float sign, Type type);

// The rotary embedding of a part of each head, from one place to another: `heads` parts of width d (of the head pitch given), out
// half-split. interleaved: the pairs lie at (2i, 2i + 1) in `x`, as in DeepSeek V2 and V3. In place if not interleaved.
struct RopePart {
  std::int64_t heads = 1, d = 0;
  std::int64_t x_ld = 0, x_pitch = 0, y_ld = 0, y_pitch = 0;  // elements between rows, between heads
  bool interleaved = false;
};
void rope_part(ComputePool&, const RopePart&, const void* x, void* y, std::int64_t m, const std::int32_t* positions, const float* cos,
               const float* sin, Type type);
// Its gradient: from dy, laid out as y, to dx, laid out as x.
void rope_part_backward(ComputePool&, const RopePart&, const void* dy, void* dx, std::int64_t m, const std::int32_t* positions,
                        const float* cos, const float* sin, Type type);

// out [M][F] = silu(gate) * up with gate_up [M][2F] = gate | up; backward gives d_gate_up [M][2F].
// kGeluTanh: 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) in silu's place (Gemma).
enum class Activation : std::uint8_t { kSilu, kGeluTanh };
void swiglu(ComputePool&, const void* gate_up, std::int64_t m, std::int64_t f, void* out, Type type,
            Activation activation = Activation::kSilu);
void swiglu_backward(ComputePool&, const void* gate_up, const void* dy, std::int64_t m, std::int64_t f, void* d_gate_up,
                     Type type, Activation activation = Activation::kSilu);

// ---- attention over KV blocks ---------------------------------------------------------------------------------
// Keys and values lie in blocks of kKvBlock consecutive positions; a block holds, for one layer, all kv heads:
// key_block_bytes() + value_block_bytes(), laid out for the kernel (keys transposed in pairs). Softmax runs over
// blocks in ascending order, so prefill, decode and training share every rounding.
inline constexpr std::int64_t kKvBlock = 16;
struct AttentionShape {
  std::int64_t heads = 0, kv_heads = 0, head_dim = 0;  // heads % kv_heads == 0; head_dim a multiple of 16, at most 1024
  float scale = 0.f;
  Type type = Type::kBF16;
  float softcap = 0.f;       // > 0: scores become softcap * tanh(score / softcap) before the softmax (Gemma 2)
  std::int64_t window = 0;   // > 0: a row sees its own position and the window - 1 before it
  bool shared_values = false;  // the values are the keys (latent attention): a block holds the keys alone, `v` is not read
};
std::size_t kv_block_bytes(const AttentionShape&);  // keys and values of one block, one layer; multiple of 64

// One token of one sequence: its place in the sequence's KV blocks. A block may hold several layers; the layer's
// part lies layer_offset bytes behind the block pointer.
struct KvRow {
  std::byte* const* blocks = nullptr;  // the sequence's block pointers; position / kKvBlock picks the block
  std::int32_t position = 0;           // of this token, from 0
};
// Writes k, v rows (kv_heads * head_dim wide, row m at k + m*ld) to rows[m].position. A row whose blocks are null is skipped.
void write_kv(ComputePool&, const AttentionShape&, const void* k, const void* v, std::int64_t m, std::int64_t ld,
              const KvRow* rows, std::size_t layer_offset);
// Row m attends to positions 0..rows[m].position of its sequence. q [M][ld], heads * head_dim wide; out [M][out_ld] of the
// same type; lse [M][heads] float32 (nats, of the scaled scores) or null. Positions beyond the row's own are never read
// into a result, whatever they hold (NaN included).
void attention(ComputePool&, const AttentionShape&, const void* q, std::int64_t ld, const KvRow* rows, std::int64_t m,
               std::size_t layer_offset, void* out, std::int64_t out_ld, float* lse);

// Backward for packed training sequences. Sequence b has its own rows [begin, end) and optionally a prefix: the rows
// [prefix_begin, prefix_end) of another sequence, which come before its own at positions 0..; -1 = none.
// Sequences of one prefix must be adjacent, the prefix first. dq, dk, dv are stored (type of q) at their own ld;
// sums over the sharers of a prefix run in sequence order.
struct AttentionSequence { std::int32_t begin = 0, end = 0, prefix_begin = -1, prefix_end = -1; };
void attention_backward(ComputePool&, const AttentionShape&, const void* q, const void* k, const void* v, std::int64_t ld,
                        const void* out, std::int64_t out_ld, const void* d_out, std::int64_t d_out_ld, const float* lse,
                        const AttentionSequence* sequences, std::int64_t n, void* dq, void* dk, void* dv, std::int64_t d_ld);

// ---- distribution over the vocabulary ---------------------------------------------------------------------------
// z = logits / temperature over the first V entries, float32, sums in one fixed order in every caller.
struct RowStats { float max = 0.f, logsumexp = 0.f, entropy = 0.f; };  // nats; of z
RowStats row_stats(const float* logits, std::int64_t v, float temperature, bool want_entropy);
// ln p(target) = z[target] - logsumexp(z).
float row_logprob(const float* logits, const RowStats&, std::int64_t target, float temperature);

struct SamplingArgs {
  float temperature = 1.f;  // 0 = greedy: ties go to the smallest id; the log-probability is that at temperature 1
  std::int32_t top_k = 0;   // 0 = off
  float top_p = 1.f;        // 1 = off; the smallest set whose mass reaches top_p
  float min_p = 0.f;        // 0 = off; keeps p >= min_p * max p
  double uniform = 0.5;     // in (0,1): the draw; the inverse of the cumulative distribution in id order
};
struct Sampled {
  std::int32_t token = 0;
  float logprob = 0.f;      // nats under the distribution drawn from (after temperature and filters)
  float entropy = 0.f;      // nats, after temperature, before filters
};
// Filters apply in the order temperature, top-k, top-p, min-p. Throws NumericError if a logit is NaN or all are -inf.
Sampled sample_row(const float* logits, std::int64_t v, const SamplingArgs&);

// d_logits of loss terms c1 * ln p(target) + c2 * entropy, for the row: d_logits[j] = (c1 (1[j = target] - p_j)
// - c2 p_j (ln p_j + H)) / temperature, stored as `type`. `logits` may be a part of a row: the statistics are those of the
// whole one, `target` counts from the part's beginning and may lie outside.
void row_logprob_backward(const float* logits, std::int64_t v, const RowStats&, std::int64_t target, float temperature,
                          float c1, float c2, void* d_logits, Type type);

// ---- optimizer ----------------------------------------------------------------------------------------------------
struct AdamWArgs { float lr, beta1, beta2, eps, weight_decay, bias1, bias2, grad_scale; };  // biasN = 1 - betaN^t
// One decoupled-weight-decay step over n elements (Loshchilov & Hutter, arXiv:1711.05101); g is multiplied by
// grad_scale first; `live` (bf16 copy of p, may be null) is rewritten.
void adamw(ComputePool&, float* p, float* m, float* v, const float* g, bf16* live, std::int64_t n, const AdamWArgs&);
// Sum of squares in float64, in an order that does not depend on threads.
double sum_of_squares(ComputePool&, const float* x, std::int64_t n);
std::int64_t first_non_finite(ComputePool&, const float* x, std::int64_t n);  // -1 = none

}  // namespace r1::cpu
