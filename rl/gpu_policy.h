// PolicyModel and ScoringModel over GpuTransformer: live weights, master, gradient and both moments on the device.
#pragma once

#include "model/gpu/gpu_training.h"
#include "model/gpu/gpu_transformer.h"
#include "rl/gpu_optimizer.h"
#include "rl/policy.h"

namespace r1 {

// Shares the transformer, and so the live weights, with the rollout engine. The transformer and the memory outlive it.
class GpuPolicy : public PolicyModel {
 public:
  struct Options {
    bool recompute = false;  // gradient checkpointing: keep each layer's input only
    MasterStart master_start = MasterStart::kExact;
    OptimizerFormat optimizer = {};  // gradient_only: the weights are changed by load() alone (LoRA)
    GpuOptimizer::Shard shard = {};  // of several ranks: what this one keeps of the optimizer's state
  };
  // `region`: for activations; shared with whoever needs it between the learner's calls.
  GpuPolicy(GpuTransformer& model, GpuRegion& region, Options options);

  LogprobRows evaluate(const PackedBatch& batch, float temperature, bool want_entropies) override;
  LogprobRows forward(const PackedBatch& batch, float temperature, bool want_entropies) override;
  void backward(std::span<const float> d_logprobs, std::span<const float> d_entropies) override;
  void zero_gradient() override {
    optimizer_.zero_gradient();
    closed_lanes_ = 0;
  }
  double gradient_sum_of_squares() override { return optimizer_.gradient_sum_of_squares(); }
  std::vector<float> gradient() const override { return optimizer_.host_gradient(); }
  void adamw(const AdamWStep& step) override { optimizer_.step(step); }
  std::optional<NonFinite> find_non_finite(ParameterPart part) override { return optimizer_.find_non_finite(part); }
  WeightSnapshot optimizer_state() const override { return optimizer_.state(); }
  void restore_optimizer_state(const WeightSnapshot& state) override { optimizer_.restore(state); }
  // Device views, of what every update before has written: other streams may read them.
  WeightSnapshot weights(WeightVersion version) const override {
    model_.synchronize();
    return model_.weights().snapshot(version);
  }
  WeightSnapshot host_weights(WeightVersion version) const override { return model_.weights().host_snapshot(version); }
  void load(const WeightSnapshot& weights) override;
  WeightDigest digest() const override { return model_.weights().digest(); }

  // zero: 1 where the options name a shard, else 0.
  void join(Session& session, int zero) override;
  void close_lane() override;
  void finish_gradient() override;

  // Losses of whole distributions, on the device; the gradient goes to this policy's arena.
  void train_device_logits(const PackedBatch& batch, GpuTraining::LogitLoss loss) {
    training_.train_logits(batch, recompute_, loss, optimizer_.gradient());
  }
  GpuTransformer& model() { return model_; }
  GpuOptimizer& optimizer() { return optimizer_; }
  GpuTraining& training() { return training_; }
  static std::size_t optimizer_bytes(const GpuWeights& weights, const OptimizerFormat& format) {
    return format.bytes(weights.elements(), static_cast<std::int64_t>(weights.parameters().size()));
  }

 private:
  GpuTransformer& model_;
  bool recompute_;
  GpuTraining training_;
  GpuOptimizer optimizer_;
  bool sharded_;
  int closed_lanes_ = 0;
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
