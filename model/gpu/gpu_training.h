// The learner's half of the GPU transformer: packed batches, the kept forward pass, the backward pass written by hand.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "model/gpu/gpu_gradient.h"
#include "model/gpu/gpu_layout.h"
#include "model/gpu/gpu_region.h"
#include "model/gpu/gpu_transformer.h"
#include "model/gpu/train_plan.h"
#include "model/transformer.h"

namespace r1 {

// Not thread-safe. Model and memory outlive it.
class GpuTraining {
 public:
  using HeadKind = GpuHeadKind;
  using Pass = GpuPass;

  // `region`: where the activations lie, shared with other phases: nothing in it lives beyond a call, or beyond forward() until
  // its backward(). Every pass is a new epoch of it.
  GpuTraining(GpuTransformer& model, GpuRegion& region);

  // Bytes that a pass over `rows` rows with `predictors` log-probabilities, distributions or scores takes at most.
  std::size_t bytes_needed(std::int64_t rows, std::int64_t predictors, Pass pass) const { return gpu_pass_bytes(model_.config(), rows, predictors, pass); }
  std::size_t memory_bytes() const { return region_.bytes; }

  // As Transformer's. Host vectors; they wait for the device. GpuOutOfMemory leaves the model as it was.
  LogprobRows evaluate(const PackedBatch& batch, float temperature, bool want_entropies);
  LogprobRows forward(const PackedBatch& batch, float temperature, bool want_entropies, bool recompute);
  // Adds to grad. Within a pass sums are float32; into a bfloat16 arena every tensor is rounded once a pass (the head once for every 2048
  // predictors where its gradient is not kept; a tied embedding once more). Asynchronous on the model's stream.
  void backward(std::span<const float> d_logprobs, std::span<const float> d_entropies, GpuGradient grad);

  // ---- heads of other kinds (gpu_training_heads.cpp); a batch's targets play no part, with scores its predictors neither ----
  // head . x + bias of the chosen rows [n]; x: their final normed hidden states, head [d] float32 on the device.
  std::vector<float> evaluate_scores(const PackedBatch& batch, std::span<const std::int32_t> rows, const float* head, float bias);
  std::vector<float> forward_scores(const PackedBatch& batch, std::span<const std::int32_t> rows, const float* head, float bias, bool recompute);
  // After forward_scores(): adds the gradient of sum_i d_scores[i] scores[i] to grad, and to d_head [d] on the device.
  void backward_scores(std::span<const float> d_scores, const float* head, GpuGradient grad, float* d_head);

  // As Transformer::train_logits(), on the device: loss(first, count, logits, d_logits) launches, on the model's stream, what puts the
  // gradient of predictors [first, first + count) into d_logits [count][ld_v] bf16; logits [count][ld_v], the first vocab_limit() of
  // a row mean something.
  using LogitLoss = FunctionRef<void(std::int64_t first, std::int64_t count, const float* logits, gpu::bf16* d_logits)>;
  void train_logits(const PackedBatch& batch, bool recompute, LogitLoss loss, GpuGradient grad);
  // Keeping nothing but the predictors' hidden states: then logits [count][ld_v] on the device of [first, first + count), count at most
  // kHeadRows, made on the model's stream; valid until the next call.
  void prepare_logits(const PackedBatch& batch);
  const float* logit_rows(std::int64_t first, std::int64_t count);
  static constexpr std::int64_t kHeadRows = kGpuHeadRows;

 private:
  using Kept = GpuKeptLayer;
  using Buffers = GpuPassBuffers;
  struct Pending;
  Buffers run_layers(const PackedBatch& batch, Pass pass);  // up to the normed rows of the predictors
  void keep(Pass pass, Buffers buffers, float temperature);
  const Buffers& kept(HeadKind head) const;
  LogprobRows run(const PackedBatch& batch, float temperature, bool want_entropies, bool keep, bool recompute);
  void run_layer(std::int64_t l, const Buffers& b, const float* h_in, float* h_mid, float* h_out, const GpuLayerBuffers& buffers);
  std::vector<float> run_scores(const PackedBatch& batch, std::span<const std::int32_t> rows, const float* head, float bias, Pass pass);
  void logprobs_backward(const Buffers& b, const float* c1, const float* c2, GpuGradient grad);
  void layers_backward(const Buffers& b, GpuGradient grad);
  void layer_backward(std::int64_t l, const Buffers& b, const float* h_in, const float* h_mid, const GpuLayerBuffers& kept, GpuGradient grad);

  GpuTransformer& model_;
  GpuRegion& region_;
  std::shared_ptr<Pending> pending_;
};

}  // namespace r1
