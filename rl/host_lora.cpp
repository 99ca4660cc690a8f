#include "rl/host_lora.h"

#include <utility>

#include "core/error.h"

namespace r1 {
namespace {

LiveWeights live(LoraAdapter& adapter) {
  return {adapter.parameters(), reinterpret_cast<std::byte*>(adapter.values().data()), DType::kF32, std::ssize(adapter.values())};
}

}  // namespace

HostLora::HostLora(Transformer& model, ParameterArena& gradient, LoraAdapter adapter)
    : model_(model), model_gradient_(gradient), adapter_(std::move(adapter)), arena_(live(adapter_), model.pool()) {
  take_base(false);
}

void HostLora::take_base(bool clear) {
  base_.clear();
  for (const LoraPair& p : adapter_.pairs()) {
    const Parameter& weight = model_.weights().find(p.weight.name);
    R1_CHECK(weight.shape == p.weight.shape, "the model's ", p.weight.name, " has another shape than the adapter's");
    const std::byte* data = model_.weights().at(weight);
    base_.insert(base_.end(), data, data + static_cast<std::size_t>(weight.elements) * size_of(model_.weights().dtype()));
  }
  if (clear) adapter_.set_b_to_zero();
}

std::span<const float> HostLora::values_under(std::span<const float> mask) {
  if (mask.empty()) return adapter_.values();
  masked_.assign(adapter_.values().begin(), adapter_.values().end());
  for (const LoraPair& p : adapter_.pairs())
    for (std::int64_t k = 0; k < adapter_.options().rank; ++k)
      for (std::int64_t i = 0; i < p.in; ++i) masked_[static_cast<std::size_t>(p.a + k * p.in + i)] *= mask[static_cast<std::size_t>(p.column + i)];
  return masked_;
}

void HostLora::merge(std::span<const float> mask) {
  const std::span<const float> values = values_under(mask);
  const DType dtype = model_.weights().dtype();
  std::size_t at = 0;
  for (const LoraPair& p : adapter_.pairs()) {
    const Parameter& weight = model_.weights().find(p.weight.name);
    adapter_.merge(p, values, base_.data() + at, dtype, true, model_.weights().at(weight), model_.pool());
    at += static_cast<std::size_t>(weight.elements) * size_of(dtype);
  }
  model_.weights_changed();
}

void HostLora::project(std::span<const float> mask) {
  adapter_.project(model_gradient_.gradient(), values_under(mask), mask, arena_.gradient(), model_.pool());
}

std::unique_ptr<LoraPolicy> with_lora(Transformer& model, TransformerPolicy::Options options, LoraAdapter adapter) {
  options.parts = ArenaParts::kGradient;
  auto inner = std::make_unique<TransformerPolicy>(model, options);
  auto state = std::make_unique<HostLora>(model, inner->arena(), std::move(adapter));
  return std::make_unique<LoraPolicy>(std::move(inner), std::move(state));
}

std::unique_ptr<LoraValue> with_lora(Transformer& model, TransformerValue::Options options, LoraAdapter adapter) {
  options.parts = ArenaParts::kGradient;
  auto inner = std::make_unique<TransformerValue>(model, options);
  auto state = std::make_unique<HostLora>(model, inner->arena(), std::move(adapter));
  return std::make_unique<LoraValue>(std::move(inner), std::move(state));
}

}  // namespace r1
