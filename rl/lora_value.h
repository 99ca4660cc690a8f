// A value model that trains LoRA pairs of its backbone, and its head whole, as PEFT does with modules_to_save.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "rl/lora_training.h"
#include "rl/value_model.h"

namespace r1 {

class LoraValue : public ValueModel {
 public:
  // `inner` trains its head alone (ArenaParts::kGradient) and `state` is over its backbone. The pairs are merged at once.
  LoraValue(std::unique_ptr<ValueModel> inner, std::unique_ptr<LoraState> state) : inner_(std::move(inner)), lora_(*inner_, std::move(state)) {}

  std::vector<float> evaluate(const PackedBatch& batch, std::span<const std::int32_t> rows) override { return settled().evaluate(batch, rows); }
  std::vector<float> forward(const PackedBatch& batch, std::span<const std::int32_t> rows) override {
    lora_.begin_pass();
    return inner_->forward(batch, rows);
  }
  void backward(std::span<const float> d_scores) override {
    inner_->backward(d_scores);
    lora_.end_pass();
  }
  void zero_gradient() override { lora_.zero_gradient(); }
  double gradient_sum_of_squares() override { return lora_.gradient_sum_of_squares() + inner_->gradient_sum_of_squares(); }
  std::vector<float> gradient() const override;  // of the adapter's values, then of the head's
  void adamw(const AdamWStep& step) override {
    lora_.adamw(step);
    inner_->adamw(step);
  }
  std::optional<NonFinite> find_non_finite(ParameterPart part) override {
    if (auto bad = lora_.find_non_finite(part)) return bad;
    return inner_->find_non_finite(part);
  }
  WeightSnapshot optimizer_state() const override;
  void restore_optimizer_state(const WeightSnapshot& state) override {
    inner_->restore_optimizer_state(state);
    lora_.restore_optimizer_state(state);
  }
  WeightSnapshot weights(WeightVersion version) const override { return settled().weights(version); }  // merged
  void load(const WeightSnapshot& weights) override {  // as the new base; B = 0
    inner_->load(weights);
    lora_.rebase();
  }
  WeightDigest digest() const override { return settled().digest(); }
  void join(Session& session, int zero) override {
    lora_.join(session, zero);
    inner_->join(session, zero);
  }
  void open_lane(int lane) override { lora_.open_lane(lane); }
  void close_lane() override {
    lora_.close_lane();
    inner_->close_lane();
  }
  void finish_gradient() override {
    lora_.finish_gradient();
    inner_->finish_gradient();
  }
  void load_head(const WeightSnapshot& weights) override { inner_->load_head(weights); }
  std::span<const float> head() const override { return inner_->head(); }

  const LoraState& lora() const { return lora_.state(); }

 private:
  ValueModel& settled() const {
    lora_.settle();
    return *inner_;
  }
  std::unique_ptr<ValueModel> inner_;
  LoraTraining lora_;
};

inline std::vector<float> LoraValue::gradient() const {
  std::vector<float> out = lora_.gradient();
  const std::vector<float> all = inner_->gradient();
  out.insert(out.end(), all.end() - std::ssize(inner_->head()), all.end());
  return out;
}

inline WeightSnapshot LoraValue::optimizer_state() const {
  WeightSnapshot out = lora_.optimizer_state(), head = inner_->optimizer_state();
  out.tensors.insert(out.tensors.end(), head.tensors.begin(), head.tensors.end());
  return out;
}

}  // namespace r1
