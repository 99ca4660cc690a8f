// A policy that trains LoRA pairs: the live weights of the model inside are always the merged ones, so that the engine, the kernels, the
// exactness promise and both devices stay as they are (docs/decisions/0009). The optimizer holds moments of A and B alone.
#pragma once

#include <memory>
#include <vector>

#include "rl/lora_adapter.h"
#include "rl/parameter_arena.h"
#include "rl/policy.h"

namespace r1 {

class LoraPolicy : public PolicyModel {
 public:
  // `inner` holds the base weights and is best made with ArenaParts::kGradient. The
  // adapter is merged at once. The pool outlives the policy.
  LoraPolicy(std::unique_ptr<PolicyModel> inner, LoraAdapter adapter, ComputePool& pool);

  LogprobRows evaluate(const PackedBatch& batch, float temperature, bool want_entropies) override {
    return inner_->evaluate(batch, temperature, want_entropies);
  }
  LogprobRows forward(const PackedBatch& batch, float temperature, bool want_entropies) override {
    return inner_->forward(batch, temperature, want_entropies);
  }
  void backward(std::span<const float> d_logprobs, std::span<const float> d_entropies) override;
  void set_balance_loss(double weight) override { inner_->set_balance_loss(weight); }
  void finish_experts(double bias_speed, std::map<std::string, double>& metrics) override;
  void zero_gradient() override;
  double gradient_sum_of_squares() override;
  std::vector<float> gradient() const override;  // of the adapter's values
  void adamw(const AdamWStep& step) override;
  std::optional<NonFinite> find_non_finite(ParameterPart part) override;
  // master., exp_avg., exp_avg_sq. of the pairs; the base is the model that the run started from.
  WeightSnapshot optimizer_state() const override { return arena_.state(); }
  void restore_optimizer_state(const WeightSnapshot& state) override;
  WeightSnapshot weights(WeightVersion version) const override { return inner_->weights(version); }  // merged
  WeightSnapshot host_weights(WeightVersion version) const override { return inner_->host_weights(version); }
  void load(const WeightSnapshot& weights) override;  // as the new base; B = 0
  WeightDigest digest() const override { return inner_->digest(); }

  const LoraAdapter& adapter() const { return adapter_; }

 private:
  void take_base();
  void merge();
  void project() const;

  std::unique_ptr<PolicyModel> inner_;
  LoraAdapter adapter_;
  ComputePool& pool_;
  mutable ParameterArena arena_;         // over the adapter's values
  mutable bool projected_ = false;       // the arena's gradient is that of the model's gradient
  DType dtype_ = DType::kF32;            // of the base
  std::vector<std::byte> base_, merged_; // the matrices that have pairs, one behind another
};

}  // namespace r1
