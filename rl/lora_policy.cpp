#include "rl/lora_policy.h"

#include <cstring>
#include <unordered_map>
#include <utility>

#include "core/error.h"

namespace r1 {
namespace {

LiveWeights live(LoraAdapter& adapter) {
  return {adapter.parameters(), reinterpret_cast<std::byte*>(adapter.values().data()), DType::kF32,
          static_cast<std::int64_t>(adapter.values().size())};
}

}  // namespace

LoraPolicy::LoraPolicy(std::unique_ptr<PolicyModel> inner, LoraAdapter adapter, ComputePool& pool)
    : inner_(std::move(inner)), adapter_(std::move(adapter)), pool_(pool), arena_(live(adapter_), pool) {
  take_base();
  merge();
}

void LoraPolicy::take_base() {
  const WeightSnapshot host = inner_->host_weights(0);
  std::unordered_map<std::string_view, const TensorView*> by_name;
  for (const TensorView& t : host.tensors) by_name[t.name] = &t;
  base_.clear();
  for (const LoraPair& p : adapter_.pairs()) {
    const auto found = by_name.find(p.weight.name);
    R1_CHECK(found != by_name.end() && found->second->shape == p.weight.shape, "the policy has no weight ", p.weight.name, " of the adapter's shape");
    const TensorView& t = *found->second;
    dtype_ = t.dtype;
    base_.insert(base_.end(), t.data, t.data + t.bytes());
  }
  merged_.resize(base_.size());
}

void LoraPolicy::merge() {
  WeightSnapshot weights = inner_->weights(0);  // the others stay where they are: load() copies nothing of its own arena
  std::unordered_map<std::string_view, TensorView*> by_name;
  for (TensorView& t : weights.tensors) by_name[t.name] = &t;
  std::size_t at = 0;
  for (const LoraPair& p : adapter_.pairs()) {
    adapter_.merge(p, base_.data() + at, dtype_, true, merged_.data() + at, pool_);
    TensorView& t = *by_name.at(p.weight.name);
    t.data = merged_.data() + at;
    t.dtype = dtype_;
    t.device = -1;
    at += t.bytes();
  }
  inner_->load(weights);
}

void LoraPolicy::backward(std::span<const float> d_logprobs, std::span<const float> d_entropies) {
  projected_ = false;
  inner_->backward(d_logprobs, d_entropies);
}

void LoraPolicy::zero_gradient() {
  projected_ = false;
  inner_->zero_gradient();
}

// Linear in the model's gradient: once for all micro-batches.
void LoraPolicy::project() const {
  if (projected_) return;
  adapter_.project(inner_->gradient(), arena_.gradient(), pool_);
  projected_ = true;
}

double LoraPolicy::gradient_sum_of_squares() {
  project();
  return arena_.gradient_sum_of_squares();
}

std::vector<float> LoraPolicy::gradient() const {
  project();
  return {arena_.gradient().begin(), arena_.gradient().end()};
}

void LoraPolicy::adamw(const AdamWStep& step) {
  project();
  arena_.adamw(step);
  merge();
}

std::optional<NonFinite> LoraPolicy::find_non_finite(ParameterPart part) {
  if (part == ParameterPart::kGradient) {
    if (const auto bad = inner_->find_non_finite(part)) return bad;  // names the model's own tensor
    project();
  }
  return arena_.find_non_finite(part);
}

void LoraPolicy::restore_optimizer_state(const WeightSnapshot& state) {
  arena_.restore(state);
  merge();
}

void LoraPolicy::load(const WeightSnapshot& weights) {
  inner_->load(weights);
  take_base();
  adapter_.set_b_to_zero();
}

void LoraPolicy::finish_experts(double bias_speed, std::map<std::string, double>& metrics) {
  if (bias_speed != 0) throw ConfigError("rl.router.bias_update moves the base model, which LoRA keeps; set it to 0");
  inner_->finish_experts(0, metrics);
}

}  // namespace r1
