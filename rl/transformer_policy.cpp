#include "rl/transformer_policy.h"

#include <algorithm>

#include "core/error.h"

namespace r1 {

TransformerPolicy::TransformerPolicy(Transformer& model, Options options)
    : model_(model),
      options_(options),
      arena_(
          {model.weights().parameters(), model.weights().data(), model.weights().dtype(), model.weights().elements()},
          model.pool(), options.master_start, options.parts) {}

LogprobRows TransformerPolicy::evaluate(const PackedBatch& batch, float temperature, bool want_entropies) {
  return model_.evaluate(batch, temperature, want_entropies);
}

LogprobRows TransformerPolicy::forward(const PackedBatch& batch, float temperature, bool want_entropies) {
  return model_.forward(batch, temperature, want_entropies, options_.recompute);
}

void TransformerPolicy::backward(std::span<const float> d_logprobs, std::span<const float> d_entropies) {
  model_.backward(d_logprobs, d_entropies, arena_.gradient());
}

void TransformerPolicy::adamw(const AdamWStep& step) {
  arena_.adamw(step);
  model_.weights_changed();
}

void TransformerPolicy::set_balance_loss(double weight) {
  if (!model_.config().moe) PolicyModel::set_balance_loss(weight);
  model_.set_balance_loss(weight);
}

void TransformerPolicy::finish_experts(double bias_speed, std::map<std::string, double>& metrics) {
  if (!model_.config().moe) {
    PolicyModel::finish_experts(bias_speed, metrics);
    return;
  }
  const ExpertLoad load = model_.take_expert_load();
  if (bias_speed != 0) model_.update_correction_biases(load, bias_speed);
  metrics["moe/load_max_over_mean"] = load.max_over_mean();
  metrics["moe/dropped"] = static_cast<double>(load.dropped);
  if (const double loss = model_.take_balance_loss(); loss != 0) metrics["moe/balance_loss"] = loss;
}

WeightSnapshot TransformerPolicy::optimizer_state() const {
  WeightSnapshot out = arena_.state();
  const WeightStore& store = model_.weights();
  for (const Parameter& p : store.buffers())
    out.tensors.push_back({"buffer." + p.name, DType::kF32, p.shape, reinterpret_cast<const std::byte*>(store.buffer(p)), -1});
  return out;
}

void TransformerPolicy::restore_optimizer_state(const WeightSnapshot& state) {
  arena_.restore(state);
  for (const Parameter& p : model_.weights().buffers()) {
    const auto found = std::find_if(state.tensors.begin(), state.tensors.end(), [&](const TensorView& t) { return t.name == "buffer." + p.name; });
    if (found == state.tensors.end()) throw CheckpointError(message("the optimizer state lacks buffer.", p.name));
    model_.weights().set({p.name, found->dtype, found->shape, found->data, -1});
  }
  model_.weights_changed();
}

void TransformerPolicy::load(const WeightSnapshot& weights) {
  model_.weights().load(weights);
  arena_.load_master(weights);
  model_.weights_changed();
}

void TransformerReference::load(const WeightSnapshot& weights) {
  model_.weights().load(weights);
  model_.weights_changed();
}

}  // namespace r1
