// The learner's half of the GPU transformer: packed batches, the kept forward pass, the backward pass written by hand.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "model/gpu/gpu_gradient.h"
#include "model/gpu/gpu_region.h"
#include "model/gpu/gpu_transformer.h"
#include "model/gpu/train_plan.h"
#include "model/transformer.h"

namespace r1 {

// Not thread-safe. Model and memory outlive it.
class GpuTraining {
 public:
  // `region`: where the activations lie, shared with other phases: nothing in it lives beyond a call, or beyond forward() until
  // its backward(). Every pass is a new epoch of it.
  GpuTraining(GpuTransformer& model, GpuRegion& region);

  // Bytes that a pass over `rows` rows with `predictors` log-probabilities takes at most, with what backward() needs.
  std::size_t bytes_needed(std::int64_t rows, std::int64_t predictors, bool recompute) const;
  std::size_t memory_bytes() const { return region_.bytes; }

  // As Transformer's. Host vectors; they wait for the device. GpuOutOfMemory leaves the model as it was.
  LogprobRows evaluate(const PackedBatch& batch, float temperature, bool want_entropies);
  LogprobRows forward(const PackedBatch& batch, float temperature, bool want_entropies, bool recompute);
  // Adds to grad. Within a pass sums are float32; into a bfloat16 arena every tensor is rounded once a pass (the head once for every 2048
  // predictors where its gradient is not kept; a tied embedding once more). Asynchronous on the model's stream.
  void backward(std::span<const float> d_logprobs, std::span<const float> d_entropies, GpuGradient grad);

 private:
  struct Kept { float *h_mid, *h_out; GpuLayerBuffers b; };  // of a layer
  struct Buffers;
  struct Pending;
  Buffers lay_out(GpuBump& bump, const TrainPlan& plan, bool keep, bool recompute, bool keep_head) const;
  LogprobRows run(const PackedBatch& batch, float temperature, bool want_entropies, bool keep, bool recompute);
  void run_layer(std::int64_t l, const Buffers& b, const float* h_in, float* h_mid, float* h_out, const GpuLayerBuffers& buffers);
  void head_backward(const Buffers& b, const float* c1, const float* c2, GpuGradient grad);
  void layer_backward(std::int64_t l, const Buffers& b, const float* h_in, const float* h_mid, const GpuLayerBuffers& kept, GpuGradient grad);

  GpuTransformer& model_;
  GpuRegion& region_;
  std::shared_ptr<Pending> pending_;
};

}  // namespace r1
