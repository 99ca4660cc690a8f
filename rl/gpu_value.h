// ValueModel over GpuTransformer: the critic of PPO, a reward model. Backbone and its optimizer on the device; the head's numbers and
// state on the host (rl/scalar_head.h), with a copy of them on the device.
#pragma once

#include "core/compute_pool.h"
#include "kernels/gpu/device.h"
#include "model/gpu/gpu_training.h"
#include "model/gpu/gpu_transformer.h"
#include "rl/gpu_optimizer.h"
#include "rl/scalar_head.h"
#include "rl/value_model.h"

namespace r1 {

class GpuValue : public ValueModel {
 public:
  // Backbone weights of its own, loaded already; transformer and memory outlive it. `region`: for activations, shared with whoever needs
  // it between forward() .. backward() and the other calls. options.recompute, master_start and the head's options count;
  // with format.gradient_only, norm, step and state are those of the head alone (LoRA).
  GpuValue(GpuTransformer& backbone, GpuRegion& region, const TransformerValue::Options& options, OptimizerFormat format = {});

  std::vector<float> evaluate(const PackedBatch& batch, std::span<const std::int32_t> rows) override;
  std::vector<float> forward(const PackedBatch& batch, std::span<const std::int32_t> rows) override;
  void backward(std::span<const float> d_scores) override;  // waits for the device
  void zero_gradient() override;
  double gradient_sum_of_squares() override;
  std::vector<float> gradient() const override;  // backbone arena, then weight, then bias
  void adamw(const AdamWStep& step) override;
  std::optional<NonFinite> find_non_finite(ParameterPart part) override;
  WeightSnapshot optimizer_state() const override;
  void restore_optimizer_state(const WeightSnapshot& state) override;
  WeightSnapshot weights(WeightVersion version) const override;  // host copies of the backbone, views of the head
  void load(const WeightSnapshot& weights) override;
  WeightDigest digest() const override;
  void load_head(const WeightSnapshot& weights) override;
  void join(Session& session, int zero) override;  // zero 0 alone
  void close_lane() override;
  void finish_gradient() override;
  std::span<const float> head() const override { return head_.values(); }

  GpuOptimizer& optimizer() { return optimizer_; }  // of the backbone

 private:
  bool whole() const { return !optimizer_.format().gradient_only; }
  void head_changed();  // copies it to the device
  GpuTransformer& model_;
  bool recompute_;
  ComputePool pool_{1};
  ScalarHead head_;
  GpuTraining training_;
  GpuOptimizer optimizer_;
  gpu::DeviceMemory dev_head_, dev_gradient_;  // [D] float32
  int closed_lanes_ = 0;
};

// A scorer that is only asked, with weights and memory of its own.
class GpuScorer {
 public:
  // `head` [D]. `rows`: of the largest batch. Weights are filled by the caller.
  GpuScorer(ModelConfig config, std::int64_t rows);
  GpuTransformer& model() { return model_; }
  void set_head(std::span<const float> head);
  std::vector<float> evaluate(const PackedBatch& batch, std::span<const std::int32_t> rows);

 private:
  GpuTransformer model_;
  gpu::DeviceMemory memory_, head_;
  GpuRegion region_;
  GpuTraining training_;
};

}  // namespace r1
