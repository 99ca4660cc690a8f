// Inside of Transformer: packed weights, scratch memory, and the passes over layers. Private to model/transformer*.cpp.
#pragma once

#include <memory>
#include <new>
#include <vector>

#include "core/error.h"
#include "model/transformer.h"

namespace r1 {

// Uninitialised 64-byte aligned memory that only grows, on large pages.
class Buffer {
 public:
  template <class T>
  T* get(std::int64_t n) {
    const std::size_t want = (static_cast<std::size_t>(n) * sizeof(T) + 63) / 64 * 64 + 64;
    if (want > size_) {
      data_.reset();
      size_ = 0;
      try {
        data_ = cpu::allocate(want);
      } catch (const std::bad_alloc&) {
        throw DeviceError(message("out of memory: ", want, " bytes for activations; lower train.tokens_per_micro_batch"));
      }
      size_ = want;
    }
    return reinterpret_cast<T*>(data_.get());
  }
  std::byte* data() const { return data_.get(); }
  template <class T> T* as() const { return reinterpret_cast<T*>(data_.get()); }
  std::size_t size() const { return size_; }

 private:
  std::shared_ptr<std::byte> data_;
  std::size_t size_ = 0;
};

// Elements between rows that a product reads: padded with zeros, an odd number of 64-byte lines (bf16) apart, so that the
// rows spread over the cache's sets.
inline std::int64_t spread_ld(std::int64_t width) {
  const std::int64_t padded = cpu::padded_depth(width);
  return padded / 32 % 2 == 0 ? padded + 32 : padded;
}

// What a layer's backward pass reads. `t` stands for the model's type.
struct LayerActivations {
  Buffer h_in;        // [N][D] float32, the residual stream before the layer
  Buffer h_mid;       // [N][D] float32, after attention
  Buffer rstd_in, rstd_mid;  // [N] float32
  Buffer qk_raw;      // [N][(H+KV) hd] t: q, k before QK-norm; only with qk_norm
  Buffer rstd_q, rstd_k;     // [N][H], [N][KV] float32; only with qk_norm
  Buffer qkv;         // [N][(H+2KV) hd] t, after rope
  Buffer attn;        // [N][H hd] t
  Buffer lse;         // [N][H] float32
  Buffer gate_up;     // [N][2F] t
};

struct LayerWeights {
  const Parameter *input_norm, *post_norm, *q, *k, *v, *o, *gate, *up, *down;
  const Parameter *q_bias = nullptr, *k_bias = nullptr, *v_bias = nullptr, *o_bias = nullptr, *q_norm = nullptr,
                  *k_norm = nullptr, *gate_bias = nullptr, *up_bias = nullptr, *down_bias = nullptr;
  cpu::PackedMatrix qkv_p, o_p, gate_up_p, down_p;      // y = x W^T
  cpu::PackedMatrix qkv_pt, o_pt, gate_up_pt, down_pt;  // dx = dy W
};

struct Transformer::Impl {
  Impl(ModelConfig c, DType dtype, ComputePool& p);

  ModelConfig config;
  cpu::Type type;
  ComputePool& pool;
  WeightStore store;
  std::int64_t D, H, KV, hd, F, V, L, q_width, kv_width, qkv_width;
  std::int64_t vocab_limit;
  std::size_t esize;  // bytes of an element of `type`
  cpu::AttentionShape shape;

  const Parameter *embed, *final_norm, *head;
  std::vector<LayerWeights> layers;
  cpu::PackedMatrix head_p, head_pt;
  bool packed = false, packed_transposed = false, head_packed = false, head_packed_transposed = false;

  std::vector<float> rope_cos, rope_sin, inv_freq;
  std::int64_t rope_positions = 0;

  // scratch of one pass
  Buffer h, x, act, logits, gathered, gathered_x;
  LayerActivations scratch;
  // kept by forward() for backward()
  std::vector<LayerActivations> kept;
  struct Pending {
    enum class Pass : std::uint8_t { kNone, kLogprobs, kHidden, kLogits } pass = Pass::kNone;
    bool recompute = false;
    std::vector<std::int32_t> rows;  // of a hidden pass
    PackedBatch batch;
    float temperature = 1.f;
    std::vector<cpu::RowStats> stats;
    Buffer h_out;  // [N][D] float32 after the last layer
  } pending;
  std::int64_t prepared_rows = 0;  // of prepare_logits(), in gathered_x; 0 once another pass took it
  // backward scratch
  Buffer d_h, d_t, d_attn, d_qkv, d_gate_up, d_act, d_x, d_x_sum, dy_transposed, d_logits;
  cpu::PackedMatrix packed_input;  // of dW products
  std::function<void(std::int64_t, std::int64_t)> gradient_hook;  // may be empty
  // KV blocks of a packed batch, one layer
  Buffer kv_arena;
  std::vector<std::vector<std::byte*>> kv_blocks;

  // Where the rows' keys and values go, in the two or three waves that prefix sharing needs.
  struct AttentionPlan {
    std::vector<cpu::KvRow> rows;         // of every row, for attention
    std::vector<cpu::KvRow> prefix_rows;  // rows of sequences that others continue; null blocks elsewhere
    std::vector<cpu::KvRow> own_rows;     // the other rows; empty if nothing is shared
    std::vector<std::pair<const std::byte*, std::byte*>> copies;  // partial blocks, between the waves
    std::size_t layer_stride = 0;         // bytes between layers inside a block; 0 = the blocks hold one layer
  };

  const std::byte* w(const Parameter* p) const { return store.at(*p); }
  void pack_weights();
  void pack_transposed_weights();
  void pack_head();  // apart: a model that serves as a backbone never needs it
  void pack_transposed_head();
  void ensure_rope(std::int64_t positions);

  void embed_rows(const TokenId* tokens, std::int64_t n, float* out);
  // h [N][D] is updated in place. keep: copies h_in and h_mid and makes lse for the backward pass.
  void layer_forward(std::int64_t l, std::int64_t n, float* h, const std::int32_t* positions, const AttentionPlan& plan,
                     LayerActivations& a, bool keep);
  void layer_backward(std::int64_t l, std::int64_t n, float* d_h, const PackedBatch& batch, LayerActivations& a, float* grad);
  AttentionPlan plan_batch(const PackedBatch& batch);
  void run_layers(const PackedBatch& batch, float* h, bool keep, bool recompute);
  void check_batch(const PackedBatch& batch) const;
  void check_rows(const PackedBatch& batch, std::span<const std::int32_t> rows) const;

  // Calls use(i, logits) for rows i of x_rows [n][D] (normed, type t), a chunk at a time.
  void for_logits(const std::byte* x_rows, std::int64_t n, FunctionRef<void(std::int64_t i, const float* logits)> use);
  LogprobRows logprob_rows(const PackedBatch& batch, const float* h, float temperature, bool want_entropies,
                           std::vector<cpu::RowStats>* stats_out);
  // gathered rows of h through the final norm into gathered_x; rstd may be null
  void gather_normed(std::span<const std::int32_t> rows, const float* h, float* rstd);
  std::vector<float> normed_as_float(std::int64_t rows);  // of gather_normed()'s rows
  void head_backward(const PackedBatch& batch, const float* h, std::span<const float> d_logprobs,
                     std::span<const float> d_entropies, float* d_h, float* grad);
  // After gather_normed(rows): the gradient dx [n][D] float32 of its output, through the norm, added to the rows of d_h.
  void norm_backward(std::span<const std::int32_t> rows, const float* rstd, const float* dx, float* d_h, float* grad);
  // Logits of m normed rows into `logits`.
  float* head_logits(const std::byte* x_rows, std::int64_t m);
  void logit_loss_backward(const PackedBatch& batch, const float* h, LogitLoss loss, float* d_h, float* grad);
  float* start_backward(Pending::Pass pass, std::span<float> grad);  // the zeroed gradient of h_out
  void layers_backward(float* d_h, float* grad);
  std::vector<std::pair<std::int64_t, std::int64_t>> gradient_stretches() const;

  void gemm(const void* a, std::int64_t m, std::int64_t lda, const cpu::PackedMatrix& b, void* c, cpu::Type out,
            cpu::Store store_mode, const void* bias = nullptr, std::int64_t ldc = -1);
  // grad_w [out][in] += dy[n][ld_dy]^T x[n][in], the first `out` columns of dy; x is what pack_input() took last.
  void pack_input(const void* x, std::int64_t n, std::int64_t in);
  void weight_gradient(const void* dy, std::int64_t ld_dy, std::int64_t out, float* grad_w);
  void copy_rows(float* to, const float* from, std::int64_t elements);  // by all threads
  void bias_gradient(const void* dy, std::int64_t n, std::int64_t width, float* grad_b);
};

}  // namespace r1
