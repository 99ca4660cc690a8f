// A policy that trains LoRA pairs: the live weights of the model inside are always the merged ones, so that the engine, the kernels, the
// exactness promise and both devices stay as they are (docs/decisions/0016). The optimizer holds moments of A and B alone.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "rl/lora_training.h"

namespace r1 {

class LoraPolicy : public PolicyModel {
 public:
  // `inner` holds the base weights and `state` is over it; best made to keep a gradient alone. The pairs are merged at once.
  LoraPolicy(std::unique_ptr<PolicyModel> inner, std::unique_ptr<LoraState> state)
      : inner_(std::move(inner)), lora_(*inner_, std::move(state)) {}

  LogprobRows evaluate(const PackedBatch& batch, float temperature, bool want_entropies) override {
    return settled().evaluate(batch, temperature, want_entropies);
  }
  LogprobRows forward(const PackedBatch& batch, float temperature, bool want_entropies) override {
    lora_.begin_pass();
    return inner_->forward(batch, temperature, want_entropies);
  }
  void backward(std::span<const float> d_logprobs, std::span<const float> d_entropies) override {
    inner_->backward(d_logprobs, d_entropies);
    lora_.end_pass();
  }
  void set_balance_loss(double weight) override { inner_->set_balance_loss(weight); }
  double take_balance_loss() override { return inner_->take_balance_loss(); }
  ExpertLoad take_expert_load() override { return inner_->take_expert_load(); }  // its biases belong to the base, which stays
  void train_logits(const PackedBatch& batch, Transformer::LogitLoss loss) override {
    lora_.begin_pass();
    inner_->train_logits(batch, loss);
    lora_.end_pass();
  }
  void prepare_logits(const PackedBatch& batch) override { settled().prepare_logits(batch); }
  const float* logit_rows(std::int64_t first, std::int64_t count) override { return inner_->logit_rows(first, count); }
  std::int64_t logit_stride() const override { return inner_->logit_stride(); }
  std::int64_t logit_ids() const override { return inner_->logit_ids(); }
  void zero_gradient() override { lora_.zero_gradient(); }
  double gradient_sum_of_squares() override { return lora_.gradient_sum_of_squares(); }
  std::vector<float> gradient() const override { return lora_.gradient(); }  // of the adapter's values
  void adamw(const AdamWStep& step) override { lora_.adamw(step); }
  std::optional<NonFinite> find_non_finite(ParameterPart part) override { return lora_.find_non_finite(part); }
  // master., exp_avg., exp_avg_sq. of the pairs; the base is the model that the run started from.
  WeightSnapshot optimizer_state() const override { return lora_.optimizer_state(); }
  void restore_optimizer_state(const WeightSnapshot& state) override { lora_.restore_optimizer_state(state); }
  WeightSnapshot weights(WeightVersion version) const override { return settled().weights(version); }  // merged
  WeightSnapshot host_weights(WeightVersion version) const override { return settled().host_weights(version); }
  void load(const WeightSnapshot& weights) override {  // as the new base; B = 0
    inner_->load(weights);
    lora_.rebase();
  }
  WeightDigest digest() const override { return settled().digest(); }
  void join(Session& session, int zero) override { lora_.join(session, zero); }
  void open_lane(int lane) override { lora_.open_lane(lane); }
  void close_lane() override { lora_.close_lane(); }
  void finish_gradient() override { lora_.finish_gradient(); }

  const LoraState& lora() const { return lora_.state(); }
  const LoraAdapter& adapter() const { return lora_.state().adapter(); }
  // For a loss that is made beside this class, on the device: without dropout the model inside is the merged one, and its gradient counts.
  PolicyModel& inner() { return *inner_; }

 private:
  PolicyModel& settled() const {
    lora_.settle();
    return *inner_;
  }
  std::unique_ptr<PolicyModel> inner_;
  LoraTraining lora_;
};

}  // namespace r1
