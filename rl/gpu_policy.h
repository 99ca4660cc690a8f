// PolicyModel and ScoringModel over GpuTransformer: live weights, float32 master, gradient and both moments on the device.
#pragma once

#include "kernels/gpu/device.h"
#include "model/gpu/gpu_training.h"
#include "model/gpu/gpu_transformer.h"
#include "rl/parameter_arena.h"
#include "rl/policy.h"

namespace r1 {

// Shares the transformer, and so the live weights, with the rollout engine. The transformer and the memory outlive it.
class GpuPolicy : public PolicyModel {
 public:
  struct Options {
    bool recompute = false;  // gradient checkpointing: keep each layer's input only
    MasterStart master_start = MasterStart::kExact;
    ArenaParts parts = ArenaParts::kAll;
  };
  // `region`: for activations; shared with whoever needs it between the learner's calls.
  GpuPolicy(GpuTransformer& model, GpuRegion& region, Options options);

  LogprobRows evaluate(const PackedBatch& batch, float temperature, bool want_entropies) override;
  LogprobRows forward(const PackedBatch& batch, float temperature, bool want_entropies) override;
  void backward(std::span<const float> d_logprobs, std::span<const float> d_entropies) override;
  void zero_gradient() override;
  double gradient_sum_of_squares() override;
  std::vector<float> gradient() const override;
  void adamw(const AdamWStep& step) override;
  std::optional<NonFinite> find_non_finite(ParameterPart part) override;
  WeightSnapshot optimizer_state() const override;  // host copies
  void restore_optimizer_state(const WeightSnapshot& state) override;
  WeightSnapshot weights(WeightVersion version) const override { return model_.weights().snapshot(version); }  // device views
  WeightSnapshot host_weights(WeightVersion version) const override { return model_.weights().host_snapshot(version); }
  void load(const WeightSnapshot& weights) override;
  WeightDigest digest() const override { return model_.weights().digest(); }

  GpuTraining& training() { return training_; }
  static std::size_t optimizer_bytes(std::int64_t elements, ArenaParts parts = ArenaParts::kAll) {
    return static_cast<std::size_t>(elements) * (parts == ArenaParts::kAll ? 16 : 4);
  }

 private:
  float* part(int index) const { return optimizer_.as<float>() + index * elements_; }  // gradient, master, exp_avg, exp_avg_sq
  bool trains() const { return options_.parts == ArenaParts::kAll; }

  GpuTransformer& model_;
  Options options_;
  GpuTraining training_;
  std::int64_t elements_;
  gpu::DeviceMemory optimizer_, scratch_, result_;
};

// A frozen model with weights of its own: the reference of the KL term.
class GpuReference : public ScoringModel {
 public:
  GpuReference(GpuTransformer& model, GpuRegion& region) : model_(model), training_(model, region) {}
  LogprobRows evaluate(const PackedBatch& batch, float temperature, bool want_entropies) override {
    return training_.evaluate(batch, temperature, want_entropies);
  }
  WeightSnapshot weights(WeightVersion version) const override { return model_.weights().snapshot(version); }
  WeightSnapshot host_weights(WeightVersion version) const override { return model_.weights().host_snapshot(version); }
  void load(const WeightSnapshot& weights) override { model_.weights().load(weights); }

 private:
  GpuTransformer& model_;
  GpuTraining training_;
};

}  // namespace r1
