// The decoder of all families on CPU kernels: one definition serves prefill, decode, evaluation and
// training, so that a token's log-probability has the same bits in all of them. The backward pass is written by hand:
// layer by layer, each recomputed or kept. Torch-free.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "core/compute_pool.h"
#include "kernels/cpu.h"
#include "model/model_config.h"
#include "model/model_group.h"
#include "model/weight_gate.h"
#include "model/weight_store.h"

namespace r1 {

// Packed training tokens, host memory, N tokens of B sequences. Sequence b is rows [begin, end). A sequence with a
// prefix continues the rows of an earlier sequence (a group's shared prompt): its first own token stands at position
// prefix length and attends to the prefix and itself. Sharers of a prefix follow it directly.
struct PackedBatch {
  std::vector<TokenId> tokens;           // [N]
  std::vector<std::int32_t> positions;   // [N]
  std::vector<cpu::AttentionSequence> sequences;  // [B]
  // The log-probabilities wanted: ln p(targets[i] | context up to row predictors[i]).
  std::vector<std::int32_t> predictors;  // [M] row whose hidden state predicts
  std::vector<TokenId> targets;          // [M]
  // [N][expert_choices()] which experts each row meets, instead of the router's choice (routing replay); empty = the router chooses.
  std::vector<std::uint16_t> experts;
};

// How tokens met the experts in trained forward passes.
struct ExpertLoad {
  std::int64_t layers = 0, experts = 0;  // layers that have experts
  std::vector<std::int64_t> tokens;      // [layers][experts]
  std::int64_t dropped = 0;              // token and expert pairs that were chosen but not computed
  double max_over_mean() const;          // largest load over the mean load of a layer, averaged over layers; 0 without tokens
};

struct LogprobRows {
  std::vector<float> logprobs;  // [M] nats at the temperature
  std::vector<float> entropies; // [M] nats; empty unless asked for
  // [M] nats of the likeliest token, with the entropies; at temperature 1 equal to logprobs[i] iff the target is one. Empty where the
  // device does not give them.
  std::vector<float> top_logprobs;
};

// Multi-token prediction in backward passes: minus ln p, summed over rows.
struct PredictionLoss {
  double sum = 0;
  std::int64_t rows = 0;
};

// Not thread-safe; one call at a time (the engine and the learner of one process take turns).
class Transformer {
 public:
  // dtype: kF32 or kBF16 (products in that type, sums, norms and the residual stream in float32). The pool outlives it.
  // parallel: the ranks that run its passes together. Tensor parallel: all passes, those of the rollout included, are then collective.
  // Sequence parallel: evaluate(), forward() and backward() are; every rank gets the log-probabilities of all targets, the gradient is
  // that of its own rows, to be added over the ranks. Throws ConfigError for a model that cannot be shared out so.
  Transformer(ModelConfig config, DType dtype, ComputePool& pool, const ModelParallel& parallel = {});
  ~Transformer();

  const ModelConfig& config() const;  // of the whole model
  const ModelParallel& parallel() const;
  WeightStore& weights();
  const WeightStore& weights() const;
  ComputePool& pool();
  // To be called after the weights changed: packs them for the kernels at the next use.
  void weights_changed();
  // Ids >= limit are never sampled and take no part in the softmax (embedding rows beyond the tokenizer). 0 = vocab_size.
  void set_vocab_limit(std::int64_t limit);
  std::int64_t vocab_limit() const;
  // Whether log-probabilities are sums over parts of the vocabulary. row_stats() of a whole row of logits then has the learner's bits,
  // which kernels/cpu.h's, in one piece, has not.
  bool splits_vocabulary() const;
  cpu::RowStats row_stats(const float* logits, float temperature, bool want_entropy) const;

  // ---- rollout -------------------------------------------------------------------------------------------------
  // Bytes of one KV block (cpu::kKvBlock positions, all layers; a mixture of experts keeps each position's experts there too).
  std::size_t kv_block_bytes() const;
  // Drafting by the multi-token prediction layer: its keys and values lie in the KV blocks behind the layers'. To be called before
  // kv_block_bytes() is asked for. Throws ConfigError without such a layer.
  void keep_drafting_state();
  struct DraftRow {
    std::int32_t step_row = 0;  // of the last step(), whose hidden states are still there
    TokenId next = 0;           // the token behind it
    cpu::KvRow kv;              // of that row: where the prediction layer's keys and values go
    bool wants_logits = false;
  };
  // Right after step(): runs the rows through the prediction layer. on_logits(i, logits) as step() calls it: of the token two behind row i.
  void draft(std::span<const DraftRow> rows, FunctionRef<void(std::size_t row, const float* logits)> on_logits);
  // Experts that one position meets, all layers together; 0 for a dense model. step() leaves them in the position's KV block.
  std::int64_t expert_choices() const;
  void read_experts(const std::byte* block, std::int32_t position, std::uint16_t* out) const;  // out [expert_choices()]
  struct Row {
    TokenId token = 0;
    cpu::KvRow kv;              // where its keys and values go, and its position
    bool wants_logits = false;
  };
  // Runs the rows through all layers at once: a row sees the earlier positions of its own blocks, those of this call
  // included. Then calls on_logits(i, logits [vocab_size]) for each row that wants them, from several threads at
  // once; the buffer is valid during the call only.
  void step(std::span<const Row> rows, FunctionRef<void(std::size_t row, const float* logits)> on_logits);

  // ---- learner -------------------------------------------------------------------------------------------------
  // Log-probabilities without keeping anything.
  LogprobRows evaluate(const PackedBatch& batch, float temperature, bool want_entropies);
  // The same, keeping what backward needs. recompute = true keeps each layer's input only.
  LogprobRows forward(const PackedBatch& batch, float temperature, bool want_entropies, bool recompute);
  // As evaluate(), and the experts of each row [N][expert_choices()].
  LogprobRows evaluate_experts(const PackedBatch& batch, float temperature, std::vector<std::uint16_t>& experts);
  // Mixtures of experts: from now on backward passes add `weight` times the balance loss (model/router.h) of each sequence of the batch
  // and layer to the objective that they differentiate; a shared prompt counts as a sequence of its own. 0 = none.
  void set_balance_loss(double weight);
  double take_balance_loss();     // what these passes added, since the last call
  ExpertLoad take_expert_load();  // of forward passes that keep something for a backward pass, since the last call
  // From now on backward() adds `weight` * the sum over trained tokens of -ln p(token | two before it) by the multi-token prediction layer to
  // the objective; a sequence's first trained token after its first row has none. 0 = none. Throws ConfigError without such a layer;
  // backward() throws it for shared prompts.
  void set_prediction_loss(double weight);
  PredictionLoss take_prediction_loss();  // what these passes met, since the last call
  // DeepSeek-V3's balancing: moves the correction biases by `speed` against the load. Throws ConfigError without such biases.
  void update_correction_biases(const ExpertLoad& load, double speed);
  // Bytes that forward() keeps for backward(), a row of the batch.
  std::int64_t kept_bytes_per_token(bool recompute) const;
  // After forward(): adds the gradient of sum_i d_logprobs[i] logprobs[i] + d_entropies[i] entropies[i] (empty = none) to
  // grad, a float32 array laid out like the weight arena.
  void backward(std::span<const float> d_logprobs, std::span<const float> d_entropies, std::span<float> grad);
  // For gradients that are sharded over processes: called in every backward pass as soon as elements [begin, end) of grad are complete.
  // The stretches cover the arena, in the same order each time: the layers from the last one on, what lies before them, what lies behind.
  void set_gradient_hook(std::function<void(std::int64_t begin, std::int64_t end)> hook);
  std::vector<std::pair<std::int64_t, std::int64_t>> gradient_stretches() const;
  // With a gate the arena holds a share of the weights: forward(), train_logits() and backward() fetch what they use of it, a layer at a
  // time, and keep its packed form as long; every other pass throws. An empty gate: all are there again. transformer_gate.cpp
  void set_weight_gate(WeightGate gate);
  // The part in others' forward and backward pass that gate and gradient hook need, without computing anything.
  void absent_pass();
  std::size_t packed_bytes() const;  // of packed forms that are held now
  // For heads of another kind (rl/value_model.h): final normed hidden states of the chosen rows, [n][D] float32 (rounded to
  // the model's type). The batch's predictors and targets play no part, the LM head neither.
  std::vector<float> hidden(const PackedBatch& batch, std::span<const std::int32_t> rows);
  // The same bits, keeping what backward_hidden() needs.
  std::vector<float> forward_hidden(const PackedBatch& batch, std::span<const std::int32_t> rows, bool recompute);
  // After forward_hidden(): adds the gradient of sum_ij d_hidden[i][j] hidden[i][j] to grad, laid out like the weight arena.
  void backward_hidden(std::span<const float> d_hidden, std::span<float> grad);
  // For losses of whole distributions (distillation), so that [M][vocab_size] never exists. loss(first, count, logits) is called for
  // all predictors in order, a part at a time, on this thread; it puts the loss's gradient in place of logits [count][vocab_size], of
  // ids below the limit (the rest is taken as 0). Then the backward pass as above. Targets play no part. transformer_logits.cpp
  using LogitLoss = FunctionRef<void(std::int64_t first, std::int64_t count, float* logits)>;
  void train_logits(const PackedBatch& batch, bool recompute, LogitLoss loss, std::span<float> grad);
  // The other side of such a loss, keeping nothing: after prepare_logits(), logits [count][vocab_size] of predictors
  // [first, first + count), valid until the next call of this transformer.
  void prepare_logits(const PackedBatch& batch);
  const float* logit_rows(std::int64_t first, std::int64_t count);
  // Full logits of the chosen rows [n][vocab_size]: for tests and small evaluations.
  std::vector<float> logits(const PackedBatch& batch, std::span<const std::int32_t> rows);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace r1
