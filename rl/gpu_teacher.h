// A frozen language model on the GPU with weights and memory of its own: a distillation's teacher, whose rows must stay while the
// student's pass has the shared memory.
#pragma once

#include "kernels/gpu/device.h"
#include "model/gpu/gpu_training.h"
#include "model/gpu/gpu_transformer.h"
#include "rl/policy.h"

namespace r1 {

class GpuTeacher : public ScoringModel {
 public:
  explicit GpuTeacher(ModelConfig config) : model_(std::move(config)), training_(model_, region_) {}
  GpuTransformer& model() { return model_; }

  // Bytes of passes over batches of `rows` rows, and taking them; before the first pass. A larger batch throws GpuOutOfMemory.
  std::size_t pass_bytes(std::int64_t rows) const;
  void reserve(std::int64_t rows);

  LogprobRows evaluate(const PackedBatch& batch, float temperature, bool want_entropies) override {
    return training_.evaluate(batch, temperature, want_entropies);
  }
  void prepare_logits(const PackedBatch& batch) override { training_.prepare_logits(batch); }
  // On the device, [count][logit_stride()]: what is launched on `reader` from now on finds them; the next call waits for what `reader` was
  // given until then.
  const float* device_rows(std::int64_t first, std::int64_t count, gpu::Stream reader);
  // The same on the host: 4 V bytes a row go over the bus. count is at most GpuTraining::kHeadRows.
  const float* logit_rows(std::int64_t first, std::int64_t count) override;
  std::int64_t logit_stride() const override { return model_.shape().ld_v; }
  std::int64_t logit_ids() const override { return model_.vocab_limit(); }
  WeightSnapshot weights(WeightVersion version) const override { return model_.weights().snapshot(version); }
  WeightSnapshot host_weights(WeightVersion version) const override { return model_.weights().host_snapshot(version); }
  void load(const WeightSnapshot& weights) override { model_.weights().load(weights); }

 private:
  GpuTransformer model_;
  gpu::DeviceMemory memory_;
  GpuRegion region_;
  GpuTraining training_;
  gpu::Event made_, read_;
  gpu::Stream reader_ = nullptr;
  std::vector<float> host_rows_;
};

}  // namespace r1
