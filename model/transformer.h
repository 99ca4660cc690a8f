// The dense decoder (Llama, Qwen2, Qwen3) on CPU kernels: one definition serves prefill, decode, evaluation and
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
};

struct LogprobRows {
  std::vector<float> logprobs;  // [M] nats at the temperature
  std::vector<float> entropies; // [M] nats; empty unless asked for
  // [M] nats of the likeliest token, with the entropies; at temperature 1 equal to logprobs[i] iff the target is one. Empty where the
  // device does not give them.
  std::vector<float> top_logprobs;
};

// Not thread-safe; one call at a time (the engine and the learner of one process take turns).
class Transformer {
 public:
  // dtype: kF32 or kBF16 (products in that type, sums, norms and the residual stream in float32). The pool outlives it.
  Transformer(ModelConfig config, DType dtype, ComputePool& pool);
  ~Transformer();

  const ModelConfig& config() const;
  WeightStore& weights();
  const WeightStore& weights() const;
  ComputePool& pool();
  // To be called after the weights changed: packs them for the kernels at the next use.
  void weights_changed();
  // Ids >= limit are never sampled and take no part in the softmax (embedding rows beyond the tokenizer). 0 = vocab_size.
  void set_vocab_limit(std::int64_t limit);
  std::int64_t vocab_limit() const;

  // ---- rollout -------------------------------------------------------------------------------------------------
  // Bytes of one KV block (cpu::kKvBlock positions, all layers).
  std::size_t kv_block_bytes() const;
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
  // Bytes that forward() keeps for backward(), a row of the batch.
  std::int64_t kept_bytes_per_token(bool recompute) const;
  // After forward(): adds the gradient of sum_i d_logprobs[i] logprobs[i] + d_entropies[i] entropies[i] (empty = none) to
  // grad, a float32 array laid out like the weight arena.
  void backward(std::span<const float> d_logprobs, std::span<const float> d_entropies, std::span<float> grad);
  // For gradients that are sharded over processes: called in every backward pass as soon as elements [begin, end) of grad are complete.
  // The stretches cover the arena, in the same order each time: the layers from the last one on, what lies before them, what lies behind.
  void set_gradient_hook(std::function<void(std::int64_t begin, std::int64_t end)> hook);
  std::vector<std::pair<std::int64_t, std::int64_t>> gradient_stretches() const;
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
