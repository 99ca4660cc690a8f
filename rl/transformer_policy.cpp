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

void TransformerPolicy::join(Session& session, int zero) {
  arena_.join(session, zero);
  if (arena_.gradient_is_sharded()) model_.set_gradient_hook([this](std::int64_t begin, std::int64_t end) { arena_.gradient_ready(begin, end); });
}

void TransformerPolicy::absent_backward() {
  for (const auto& [begin, end] : model_.gradient_stretches()) arena_.gradient_ready(begin, end);
}

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
  if (options_.parts == ArenaParts::kAll) arena_.load_master(weights);
  model_.weights_changed();
}

void TransformerReference::load(const WeightSnapshot& weights) {
  model_.weights().load(weights);
  model_.weights_changed();
}

}  // namespace r1
