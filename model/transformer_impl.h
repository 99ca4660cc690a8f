// Inside of Transformer: packed weights, scratch memory, and the passes over layers. Private to model/transformer*.cpp.
#pragma once

#include <cstdint>
#include <cstring>
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
// One MLP's or its experts' part of a layer: [rows][2F] t, before the activation.
struct ExpertActivations {
  Buffer scores;      // [N][E] float32, all experts
  Buffer chosen;      // [N][K] int32, ascending
  Buffer weights;     // [N][K] float32
  std::vector<std::int32_t> rows;     // [N K] entries token * K + slot, by expert, then token
  std::vector<std::int64_t> offsets;  // [E + 1] into rows
  Buffer gate_up;     // [N K][2F] t, in the order of rows
  Buffer shared_gate_up;  // [N][2F'] t
  Buffer shared_weight;   // [N] float32: the shared expert's gate, after the sigmoid
  // Expert parallel: [ranks][experts held here] entries that came from each rank; gate_up is then theirs, by expert, then rank, then token.
  std::vector<std::int64_t> came;
};

// Latent attention: q is what the heads' queries are before they meet the keys' projection.
struct LatentActivations {
  Buffer down;        // [N][down width] t: q_a or q, the raw latent, the raw rotary key
  Buffer q_normed;    // [N][r_q] t; only with query compression
  Buffer q;           // [N][H (n+p)] t; only with query compression (else it is in `down`)
  Buffer rstd_q, rstd_kv;  // [N] float32
  Buffer context;     // [N][H][latent width] t: the attention's result, still latent
};

struct LayerActivations {
  Buffer h_in;        // [N][D] float32, the residual stream before the layer
  Buffer h_mid;       // [N][D] float32, after attention
  Buffer rstd_in, rstd_mid;  // [N] float32
  Buffer qk_raw;      // [N][(H+KV) hd] t: q, k before QK-norm; only with qk_norm
  Buffer rstd_q, rstd_k;     // [N][H], [N][KV] float32; only with qk_norm
  Buffer qkv;         // [N][(H+2KV) hd] t, after rope; latent attention: [N][(H+1) latent width], queries and the latent
  Buffer attn;        // [N][H hd] t
  Buffer attn_heads;  // sequence parallel: the same of all rows and this rank's heads; qkv and lse are such too
  Buffer attn_out, mlp_out;  // [N][D] float32, before the norms behind them; only with post_norms
  Buffer rstd_attn_out, rstd_mlp_out;  // [N] float32
  LatentActivations latent;
  ExpertActivations moe;
  Buffer lse;         // [N][H] float32
  Buffer gate_up;     // [N][2F] t
};

// Gated MLP of a layer, an expert or the shared expert. gate and up are adjacent in the arena.
struct MlpWeights {
  std::int64_t width = 0;
  const Parameter *gate = nullptr, *down = nullptr, *gate_bias = nullptr, *down_bias = nullptr;
  cpu::PackedMatrix gate_up_p, down_p;    // y = x W^T
  cpu::PackedMatrix gate_up_pt, down_pt;  // dx = dy W
};

struct MoeWeights {
  const Parameter *router = nullptr, *shared_gate = nullptr, *bias = nullptr;  // bias: a buffer of the store
  cpu::PackedMatrix router_p, router_pt, shared_gate_p;  // float32 whatever the model's type
  std::vector<MlpWeights> experts;
  MlpWeights shared;  // width 0 = none
};

struct LatentWeights {
  const Parameter *down, *q_norm = nullptr, *q_b = nullptr, *kv_norm, *kv_b;  // down: q_a or q, and kv_a behind it
  cpu::PackedMatrix down_p, down_pt, q_b_p, q_b_pt;
  // For each head, of its part of kv_b [n + v, r]: keys and values, each as it is used forwards (_p) and backwards (_pt).
  std::vector<cpu::PackedMatrix> key_p, key_pt, value_p, value_pt;
};

struct PredictionWeights {
  const Parameter *enorm = nullptr, *hnorm = nullptr, *eh = nullptr, *norm = nullptr;  // its layer is layers[L]
  cpu::PackedMatrix eh_p, eh_pt;
  bool packed = false;
};

struct LayerWeights {
  const Parameter *input_norm = nullptr, *attn_out_norm = nullptr, *mlp_norm = nullptr, *mlp_out_norm = nullptr, *q = nullptr, *o = nullptr;
  const Parameter *q_bias = nullptr, *o_bias = nullptr, *q_norm = nullptr, *k_norm = nullptr;
  cpu::PackedMatrix qkv_p, o_p, qkv_pt, o_pt;
  std::unique_ptr<LatentWeights> latent;
  MlpWeights mlp;
  std::unique_ptr<MoeWeights> moe;
};

// Rows of a layer that one expert works on: all, in order, or those of its entries.
struct ExpertRows {
  const std::int32_t* entries = nullptr;  // token * slots + slot; null = every token, its own entry
  std::int64_t count = 0, slots = 1;
  std::int64_t entry(std::int64_t i) const { return entries ? entries[i] : i; }
  std::int64_t token(std::int64_t i) const { return entry(i) / slots; }
};

struct Transformer::Impl {
  Impl(ModelConfig c, DType dtype, ComputePool& p, const ModelParallel& with);

  ModelParallel parallel;
  ModelConfig whole;   // the model; `config` is this rank's part of it
  ModelConfig config;
  cpu::Type type;
  ComputePool& pool;
  WeightStore store;
  std::int64_t D, H, KV, hd, F, V, L, q_width, kv_width, qkv_width;
  std::int64_t vocab, vocab_first = 0;  // rows of the whole vocabulary; V of them from vocab_first on are here
  std::int64_t vocab_limit;
  std::size_t esize;  // bytes of an element of `type`
  cpu::AttentionShape shape;  // without a window
  cpu::Gain gain;
  cpu::Activation activation;
  std::int64_t latent_width = 0, down_width = 0, attn_width = 0;  // of latent attention; attn_width: columns that o_proj reads
  std::int64_t attn_in = 0;  // columns of qkv
  float embedding_scale = 1.f;
  std::vector<std::int64_t> moe_layers;  // number of a layer among those with experts; -1
  std::int64_t num_moe_layers = 0;

  const Parameter *embed, *final_norm, *head;
  const Parameter* head_norm;  // before the head: final_norm but in the prediction layer's pass
  std::vector<LayerWeights> layers;  // [L], and the first multi-token prediction layer behind them
  std::unique_ptr<PredictionWeights> prediction;
  double prediction_weight = 0, prediction_value = 0;
  std::int64_t prediction_rows = 0;
  LayerActivations prediction_activations;
  cpu::PackedMatrix head_p, head_pt;
  bool packed = false, packed_transposed = false, head_packed = false, head_packed_transposed = false;

  struct Rope { std::vector<float> inv_freq, cos, sin; };  // cos, sin [positions][rotated width / 2]
  Rope rope, local_rope;  // local: of layers with rope_local_theta
  std::int64_t rope_positions = 0;

  // scratch of one pass
  Buffer h, x, x32, act, logits, gathered, gathered_x;
  Buffer partial, whole_logits, own_qkv, sent, received;  // of several ranks
  Buffer expert_x, expert_out, expert_act;
  Buffer there_x, there_y, there_dy, there_weights, here_y;  // of rows at the ranks that hold their experts, and back
  std::vector<float> row_weights, d_row_weights;
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
    std::vector<std::size_t> places;  // expert parallel: of the whole batch's targets, which are in `batch`
    std::size_t targets = 0;          // of the whole batch
  } pending;
  // Sequence parallel: rows [first_row, last_row) of the batch under way are this rank's, row_begins [size + 1] everyone's.
  std::int64_t first_row = 0, last_row = 0;
  std::vector<std::int64_t> row_begins;
  std::int64_t prepared_rows = 0;  // of prepare_logits(), in gathered_x; 0 once another pass took it
  // backward scratch
  Buffer d_h, d_t, d_attn, d_qkv, d_gate_up, d_act, d_x, d_x_sum, dy_transposed, d_logits;
  Buffer d_out, d_context, d_q, d_q_normed, d_down, d_x32, d_weights, d_scores, d_expert_x;
  cpu::PackedMatrix packed_input;  // of dW products
  std::function<void(std::int64_t, std::int64_t)> gradient_hook;  // may be empty
  // ---- weights in shares (transformer_gate.cpp)
  WeightGate gate;         // empty: all weights are there
  bool head_held = false;  // behind the gate, from the end of a forward pass to the head's backward pass
  void require_whole(const char* pass) const;
  void hold_layer(std::int64_t l, bool forward, bool transposed);  // no-ops without a gate
  void drop_layer(std::int64_t l);
  void hold_embedding();
  void drop_embedding();
  void hold_head();
  void drop_head();
  void drop_packed();
  void for_packed(LayerWeights& layer, FunctionRef<void(cpu::PackedMatrix&, bool transposed)> use);
  // ---- mixtures of experts
  std::vector<std::int64_t> expert_load;  // [moe layers][E] tokens of forward passes since the last take
  std::int64_t expert_rows = 0;           // rows that were routed in them, all layers
  bool count_load = false;
  double balance_weight = 0, balance_value = 0;
  std::vector<std::uint16_t> recorded;    // of a step, before it goes into the blocks
  std::span<const std::uint16_t> replay;  // [N][moe layers][K] of the pass under way; empty = none
  bool stepping = false;                  // in step(): expert parallel ranks have the same rows
  std::uint16_t* record = nullptr;        // as replay: where the pass under way leaves its choice; null = nowhere
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
    bool by_heads = false;                // sequence parallel: of all rows of the batch, for a part of the heads
  };

  const std::byte* w(const Parameter* p) const { return store.at(*p); }
  void find_attention(const std::string& prefix, LayerWeights& w);
  void find_latent(const std::string& prefix, LayerWeights& w);
  void find_mlp(const std::string& prefix, MlpWeights& w, std::int64_t width, const char* gate, const char* up, const char* down);
  void find_experts(const std::string& prefix, LayerWeights& w);
  // Packs the first use and after changes; `transposed` for the backward pass.
  void pack(const Parameter* p, std::int64_t rows, std::int64_t depth, cpu::PackedMatrix& out, std::int64_t skip = 0);
  void pack_transposed(const Parameter* p, std::int64_t out_features, std::int64_t in_features, cpu::PackedMatrix& out, std::int64_t skip = 0);
  void pack_mlp(MlpWeights& m, bool transposed);
  void pack_latent(LatentWeights& m, bool transposed);
  void pack_experts(MoeWeights& m, bool transposed);
  void pack_layer(LayerWeights& l, bool transposed);
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
  cpu::AttentionShape shape_of(std::int64_t l, bool by_heads) const;
  // ---- several ranks (transformer_parallel.cpp)
  // h (or `out`, where that is not null) takes a product whose columns are shared out: add(to, store) makes this rank's part.
  void add_shared(std::int64_t n, float* h, float* out, FunctionRef<void(float* to, cpu::Store store)> make);
  // dx [n][D] of `type` = dy times a weight whose rows are shared out.
  void input_gradient(const void* dy, std::int64_t n, std::int64_t ld, const cpu::PackedMatrix& b, std::byte* dx);
  const float* gather_logits(std::int64_t m, const float* part);  // [m][vocab] from everyone's [m][V]
  cpu::RowStats part_stats(const float* z, std::int64_t first, std::int64_t count, float temperature, bool want_entropy) const;
  LogprobRows split_logprob_rows(const PackedBatch& batch, float temperature, bool want_entropies, std::vector<cpu::RowStats>* stats_out);
  // Splits the batch's rows; the targets whose predictors are this rank's, with rows counted from first_row, and their places.
  void take_rows(std::int64_t n);
  PackedBatch own_targets(const PackedBatch& batch, std::vector<std::size_t>& places) const;
  LogprobRows gather_targets(const PackedBatch& batch, const LogprobRows& own, bool want_entropies);
  // [own rows][sum of widths] <-> [all rows][sum of widths / size]: sections of so many columns, each shared out by heads.
  void to_heads(const std::byte* own, std::span<const std::int64_t> widths, std::byte* all);
  void from_heads(const std::byte* all, std::span<const std::int64_t> widths, std::byte* own);
  std::int64_t batch_rows(const PackedBatch& batch) const {
    return parallel.sequence ? last_row - first_row : static_cast<std::int64_t>(batch.tokens.size());
  }
  bool shares_rows() const { return parallel.sequence || parallel.experts; }
  const Rope& rope_of(std::int64_t l) const { return config.has_window(l) && config.rope_local_theta > 0 ? local_rope : rope; }
  // The parts of a layer. x [N][D] is their normed input; the result is added to h, or stored in `out` where that is not null.
  void attention_forward(std::int64_t l, std::int64_t n, const std::byte* x, const std::int32_t* positions, const AttentionPlan& plan,
                         LayerActivations& a, bool keep, float* h, float* out);
  void latent_forward(std::int64_t l, std::int64_t n, const std::byte* x, const std::int32_t* positions, const AttentionPlan& plan,
                      LayerActivations& a, bool keep, float* h);
  void mlp_forward(const MlpWeights& m, std::int64_t n, const std::byte* x, Buffer& gate_up, float* h, float* out);
  void moe_forward(std::int64_t l, std::int64_t n, const std::byte* x, LayerActivations& a, float* h);
  void routed_forward(std::int64_t l, std::int64_t n, const std::byte* x, ExpertActivations& a, float* h);  // the experts without the shared one
  void count_computed(std::int64_t l, const ExpertActivations& a);  // loads, where a pass that trains asks for them
  std::byte* gather_rows(const ExpertRows& rows, const std::byte* from, Buffer& to);  // [count][D] of `type`
  void add_expert(const ExpertRows& rows, const float* weights, const float* y, float* h);  // h += weight * y; null: 1
  // y [count][D] float32 of rows x of an expert; gate_up is kept for the backward pass.
  float* expert_forward(const MlpWeights& e, const std::byte* x, std::int64_t count, std::byte* gate_up, float* y);
  // Of weights [count] (null: 1) times its output: the expert's gradient, d_weights [count], and dx [count][D] float32.
  void expert_backward(const MlpWeights& e, std::int64_t count, const std::byte* x, const std::byte* dy, const float* weights, const std::byte* gate_up,
                       float* d_weights, float* dx, float* grad);
  // Expert parallel (transformer_experts.cpp): a layer's experts in forward and backward passes, those of other ranks included.
  // x [n][D] are this rank's rows, of which there may be none.
  void distant_forward(const MoeWeights& m, const std::byte* x, ExpertActivations& a, float* h);
  void distant_backward(const MoeWeights& m, const std::byte* x, const std::byte* dy, ExpertActivations& a, float* d_weights, float* dx32, float* grad);
  void add_all_experts(const ExpertActivations& a, const float* weights, const float* y, float* to);  // y in the order of a.rows
  // Rows of `bytes` each: `here` in the order of a.rows, `there`, at the ranks that hold their experts, in the order of a.gate_up.
  void move_experts(const ExpertActivations& a, std::byte* here, std::int64_t bytes, std::byte* there, bool back);
  void step_experts(std::int64_t l, std::int64_t n, const std::byte* x, ExpertActivations& a, float* h);  // routed_forward() of rows that all ranks have
  void share_step_rows(std::int64_t n, std::byte* rows, std::int64_t bytes, const char* what);  // everyone gets all of them
  // This rank's sequences of a training batch, which may be none; `places` [ranks] of everyone's among the batch's targets.
  PackedBatch batch_part(const PackedBatch& batch, std::vector<std::vector<std::size_t>>& places) const;
  LogprobRows part_pass(const PackedBatch& batch, float temperature, bool want_entropies, bool keep, bool recompute);  // evaluate() and forward()
  void part_backward(std::span<const float> d_logprobs, std::span<const float> d_entropies, float* dh, float* grad);
  LogprobRows join_targets(ModelGroup& group, const std::vector<std::vector<std::size_t>>& places, const LogprobRows& own, bool want_entropies) const;
  // From dy [N][D], the gradient of what was added, to dx [N][D] of `type`, the gradient of x.
  void attention_backward(std::int64_t l, std::int64_t n, const std::byte* x, const void* dy, const PackedBatch& batch, LayerActivations& a,
                          float* grad, std::byte* dx);
  void latent_backward(std::int64_t l, std::int64_t n, const std::byte* x, const void* dy, const PackedBatch& batch, LayerActivations& a,
                       float* grad, std::byte* dx);
  void mlp_backward(const MlpWeights& m, std::int64_t n, const std::byte* x, const void* dy, const Buffer& gate_up, float* grad, std::byte* dx);
  void moe_backward(std::int64_t l, std::int64_t n, const std::byte* x, const void* dy, const PackedBatch& batch, LayerActivations& a,
                    float* grad, std::byte* dx);
  std::int64_t choices() const { return config.moe ? num_moe_layers * config.moe->experts_per_token : 0; }
  // Inside a block of step(): behind the layers, and behind the prediction layer where drafts are made.
  std::size_t routes_offset() const { return cpu::kv_block_bytes(shape) * static_cast<std::size_t>(L + (drafting ? 1 : 0)); }
  void route(std::int64_t l, std::int64_t n, const std::byte* x, ExpertActivations& a);
  void balance_gradient(const MoeWeights& m, const PackedBatch& batch, ExpertActivations& a, float* d_logits);
  const float* as_float(const std::byte* x, std::int64_t elements);  // x itself if it is float32
  const std::byte* normed(const float* h, std::int64_t n, const Parameter* norm, float* rstd);  // into x; a cast without a norm
  void add_normed(const float* out, std::int64_t n, const Parameter* norm, float* rstd, float* h);  // h += norm(out)
  // The gradient of add_normed's `out`, of `type`.
  const void* add_normed_backward(const float* out, std::int64_t n, const Parameter* norm, const float* rstd, const void* dy, float* grad);
  // dh += the gradient through normed(), from dx.
  void normed_backward(const float* h, std::int64_t n, const Parameter* norm, const float* rstd, const std::byte* dx, float* dh, float* grad);
  void write_cache(const cpu::AttentionShape& s, std::int64_t l, std::int64_t n, const std::byte* k, const std::byte* v, std::int64_t ld,
                   const AttentionPlan& plan);
  void find_layer(std::int64_t l);
  void find_prediction();
  struct PredictionBatch {
    PackedBatch batch;
    std::vector<std::int32_t> rows;  // of the whole batch, whose hidden states these rows see
  };
  PredictionBatch prediction_batch(const PackedBatch& batch) const;
  // What rows of h and the tokens behind them make of the prediction layer's input m [n][D], and what its gradient needs.
  struct PredictionInput {
    std::vector<float> rstd_final, rstd_e, rstd_h, hidden;
    Buffer embedded, part, both, m;
  };
  PredictionInput prediction_input_;
  void prediction_input(std::span<const std::int32_t> rows, const TokenId* next, const float* h, PredictionInput& in);
  bool drafting = false;
  std::int64_t step_rows = 0;  // of the last step, in h
  // Adds the loss's gradient to grad and, through the hidden states h, to dh.
  void prediction_backward(const PackedBatch& batch, const float* h, float* dh, float* grad);
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
  void cap_backward(const float* capped, std::int64_t count, std::byte* dz) const;  // dz of `type`, through the cap
  void cap_logits(float* z, std::int64_t count);  // in place, where the model caps them
  void logit_loss_backward(const PackedBatch& batch, const float* h, LogitLoss loss, float* d_h, float* grad);
  float* start_backward(Pending::Pass pass, std::span<float> grad);  // the zeroed gradient of h_out
  void layers_backward(float* d_h, float* grad);
  std::vector<std::pair<std::int64_t, std::int64_t>> gradient_stretches() const;

  void gemm(const void* a, std::int64_t m, std::int64_t lda, const cpu::PackedMatrix& b, void* c, cpu::Type out,
            cpu::Store store_mode, const void* bias = nullptr, std::int64_t ldc = -1);
  // grad_w [out][in] += dy[n][ld_dy]^T x[n][in], the first `out` columns of dy; x [n][ld] is what pack_input() took last.
  void pack_input(const void* x, std::int64_t n, std::int64_t in, std::int64_t ld = -1);
  void weight_gradient(const void* dy, std::int64_t ld_dy, std::int64_t out, float* grad_w);
  void copy_rows(float* to, const float* from, std::int64_t elements);  // by all threads
  void bias_gradient(const void* dy, std::int64_t n, std::int64_t width, float* grad_b);
};

}  // namespace r1
