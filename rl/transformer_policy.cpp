#include "rl/transformer_policy.h"

#include <algorithm>
#include <vector>

#include "core/error.h"
#include "rl/rank_group.h"

namespace r1 {

TransformerPolicy::TransformerPolicy(Transformer& model, Options options)
    : model_(model),
      options_(options),
      arena_(
          {model.weights().parameters(), model.weights().data(), model.weights().dtype(), model.weights().elements()},
          model.pool(), options.master_start, options.parts) {}

std::vector<ElementRange> TransformerPolicy::held_alone() const {
  const WeightStore& store = model_.weights();
  std::vector<ElementRange> out;
  for (const Parameter& p : store.parameters()) {
    if (store.cut(p).all && expert_owner(store.whole_config(), p.name, store.split()) < 0) continue;
    if (!out.empty() && p.offset - out.back().end < 32) out.back().end = p.offset + p.elements;  // padding between
    else out.push_back({p.offset, p.offset + p.elements});
  }
  return out;
}

void TransformerPolicy::join(Session& session, int zero) {
  if (model_.parallel().parts() && zero > 0)
    throw ConfigError(message("train.zero is ", zero, " beside ", model_.parallel().key(), ", which shares the state out in its own way; set it to 0"));
  if (model_.parallel().sequence && zero > 2) throw ConfigError("train.zero: 3 and train.sequence_parallel do not go together; use 2");
  arena_.join(session, zero);
  if (arena_.gradient_is_sharded()) model_.set_gradient_hook([this](std::int64_t begin, std::int64_t end) { arena_.gradient_ready(begin, end); });
}

void TransformerPolicy::make_whole() const {
  if (arena_.whole()) return;
  arena_.make_whole();
  model_.set_weight_gate({});
}

void TransformerPolicy::take_apart() {
  if (!arena_.weights_are_sharded()) return;
  arena_.take_apart();
  model_.set_weight_gate({[this](std::int64_t begin, std::int64_t end) { arena_.fetch(begin, end); },
                          [this](std::int64_t begin, std::int64_t end) { arena_.release(begin, end); }});
}

void TransformerPolicy::zero_gradient() {
  take_apart();
  arena_.zero_gradient();
}

void TransformerPolicy::set_prediction_loss(double weight) {
  if (weight != 0 && arena_.weights_are_sharded())
    throw ConfigError("mtp_loss: with train.zero 3 the prediction layer is not there when it is needed; set train.zero to 2 or less");
  model_.set_prediction_loss(weight);
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
  take_apart();
  model_.weights_changed();
}

void TransformerPolicy::set_balance_loss(double weight) {
  if (!model_.config().moe) PolicyModel::set_balance_loss(weight);
  model_.set_balance_loss(weight);
}

double TransformerPolicy::gradient_sum_of_squares() {
  const double mine = arena_.gradient_sum_of_squares();
  ModelGroup* group = model_.parallel().parts();
  if (!group) return mine;
  // What every rank holds alike counts once.
  double own = 0;
  for (const ElementRange& r : held_alone()) own += cpu::sum_of_squares(model_.pool(), arena_.gradient().data() + r.begin, r.size());
  const double alike = mine - own;
  std::vector<double> all(static_cast<std::size_t>(group->size()));
  const std::vector<std::span<const std::byte>> sends(all.size(), std::as_bytes(std::span<const double>(&own, 1)));
  std::vector<std::span<std::byte>> receives;
  for (double& d : all) receives.push_back(std::as_writable_bytes(std::span<double>(&d, 1)));
  group->exchange(sends, receives, "the gradient's norm");
  double sum = alike;
  for (const double part : all) sum += part;
  return sum;
}

WeightSnapshot TransformerPolicy::host_weights(WeightVersion version) const {
  ModelGroup* group = model_.parallel().parts();
  return group ? gather_whole(model_.weights(), weights(version), *group) : weights(version);
}

WeightDigest TransformerPolicy::digest() const {
  make_whole();
  ModelGroup* group = model_.parallel().parts();
  return group ? whole_digest(model_.weights(), *group) : model_.weights().digest();
}

WeightSnapshot TransformerPolicy::optimizer_state() const {
  if (model_.weights().dtype() == DType::kF32) make_whole();  // the master is the live weights
  WeightSnapshot out = arena_.state();
  if (ModelGroup* group = model_.parallel().parts()) out = gather_whole(model_.weights(), out, *group);
  const WeightStore& store = model_.weights();
  for (const Parameter& p : store.buffers())
    out.tensors.push_back({"buffer." + p.name, DType::kF32, p.shape, reinterpret_cast<const std::byte*>(store.buffer(p)), -1});
  return out;
}

void TransformerPolicy::restore_optimizer_state(const WeightSnapshot& state) {
  if (model_.parallel().parts()) arena_.restore(take_parts(model_.weights(), state));
  else arena_.restore(state);
  take_apart();
  for (const Parameter& p : model_.weights().buffers()) {
    const auto found = std::find_if(state.tensors.begin(), state.tensors.end(), [&](const TensorView& t) { return t.name == "buffer." + p.name; });
    if (found == state.tensors.end()) throw CheckpointError(message("the optimizer state lacks buffer.", p.name));
    model_.weights().set({p.name, found->dtype, found->shape, found->data, -1});
  }
  model_.weights_changed();
}

void TransformerPolicy::load(const WeightSnapshot& weights) {
  make_whole();
  model_.weights().load(weights);
  if (options_.parts == ArenaParts::kAll) arena_.load_master(model_.parallel().parts() ? take_parts(model_.weights(), weights) : weights);
  model_.weights_changed();
}

WeightSnapshot TransformerReference::host_weights(WeightVersion version) const {
  ModelGroup* group = model_.parallel().parts();
  return group ? gather_whole(model_.weights(), weights(version), *group) : weights(version);
}

void TransformerReference::load(const WeightSnapshot& weights) {
  model_.weights().load(weights);
  model_.weights_changed();
}

}  // namespace r1
