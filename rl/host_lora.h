// LoraState over a model on the CPU, and the models that train with it.
#pragma once

#include <memory>

#include "rl/lora_policy.h"
#include "rl/lora_value.h"
#include "rl/transformer_policy.h"

namespace r1 {

class HostLora : public LoraState {
 public:
  // `model` holds the base weights, `gradient` is the arena that its backward pass adds to (ArenaParts::kGradient is enough). Both
  // outlive the state.
  HostLora(Transformer& model, ParameterArena& gradient, LoraAdapter adapter);

  const LoraAdapter& adapter() const override { return adapter_; }
  void take_base(bool clear) override;
  void merge(std::span<const float> mask) override;
  void zero_gradient() override { arena_.zero_gradient(); }
  void zero_model_gradient() override { model_gradient_.zero_gradient(); }
  void project(std::span<const float> mask) override;
  double gradient_sum_of_squares() override { return arena_.gradient_sum_of_squares(); }
  std::vector<float> gradient() const override { return {arena_.gradient().begin(), arena_.gradient().end()}; }
  void adamw(const AdamWStep& step) override { arena_.adamw(step); }
  std::optional<NonFinite> find_non_finite(ParameterPart part) override { return arena_.find_non_finite(part); }
  WeightSnapshot optimizer_state() const override { return arena_.state(); }
  void restore_optimizer_state(const WeightSnapshot& state) override { arena_.restore(state); }
  void join(Session& session, int zero) override { arena_.join(session, zero > 0 ? 1 : 0); }  // the pairs' gradient is small
  void close_lane() override { arena_.close_lane(); }
  void finish_gradient() override { arena_.finish_gradient(); }

 private:
  std::span<const float> values_under(std::span<const float> mask);  // A's columns times the mask

  Transformer& model_;
  ParameterArena& model_gradient_;
  LoraAdapter adapter_;
  ParameterArena arena_;              // over the adapter's values
  std::vector<float> masked_;
  std::vector<std::byte> base_;       // the matrices that have pairs, one behind another
};

// A policy, and a value model, that train the adapter. options.parts plays no part; the transformer outlives them.
std::unique_ptr<LoraPolicy> with_lora(Transformer& model, TransformerPolicy::Options options, LoraAdapter adapter);
std::unique_ptr<LoraValue> with_lora(Transformer& model, TransformerValue::Options options, LoraAdapter adapter);

}  // namespace r1
