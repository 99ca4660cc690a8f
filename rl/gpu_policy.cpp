#include "rl/gpu_policy.h"

#include <cmath>
#include <cstring>
#include <map>

#include "core/error.h"
#include "kernels/gpu/weights.h"

namespace r1 {

namespace {

enum Part { kGradient, kMaster, kExpAvg, kExpAvgSq };  // the gradient first: with ArenaParts::kGradient it is all there is
constexpr std::pair<Part, const char*> kSaved[] = {{kMaster, "master."}, {kExpAvg, "exp_avg."}, {kExpAvgSq, "exp_avg_sq."}};

}  // namespace

GpuPolicy::GpuPolicy(GpuTransformer& model, GpuRegion& region, Options options)
    : model_(model), options_(options), training_(model, region), elements_(model.weights().elements()),
      optimizer_(optimizer_bytes(elements_, options.parts)), scratch_(gpu::reduce_scratch_bytes()), result_(64) {
  gpu::fill_bytes(model_.stream(), optimizer_.data(), 0, optimizer_.bytes());
  if (trains()) gpu::master_from_live(model_.stream(), model_.weights().data(), part(kMaster), elements_, options_.master_start == MasterStart::kSpread);
  model_.synchronize();
}

LogprobRows GpuPolicy::evaluate(const PackedBatch& batch, float temperature, bool want_entropies) {
  return training_.evaluate(batch, temperature, want_entropies);
}
LogprobRows GpuPolicy::forward(const PackedBatch& batch, float temperature, bool want_entropies) {
  return training_.forward(batch, temperature, want_entropies, options_.recompute);
}
void GpuPolicy::backward(std::span<const float> d_logprobs, std::span<const float> d_entropies) {
  training_.backward(d_logprobs, d_entropies, part(kGradient));
}

void GpuPolicy::zero_gradient() {
  gpu::fill_bytes(model_.stream(), part(kGradient), 0, static_cast<std::size_t>(elements_) * sizeof(float));
}

double GpuPolicy::gradient_sum_of_squares() {
  gpu::sum_of_squares(model_.stream(), part(kGradient), elements_, result_.as<double>(), scratch_.data());
  double out = 0;
  gpu::copy_to_host(model_.stream(), &out, result_.data(), sizeof out);
  model_.synchronize();
  return out;
}

std::vector<float> GpuPolicy::gradient() const {
  std::vector<float> out(static_cast<std::size_t>(elements_));
  gpu::copy_to_host(model_.stream(), out.data(), part(kGradient), out.size() * sizeof(float));
  model_.synchronize();
  return out;
}

void GpuPolicy::adamw(const AdamWStep& step) {
  R1_CHECK(trains(), "an optimizer step of weights that have no master");
  const auto bias = [&](double beta) { return static_cast<float>(1.0 - std::pow(beta, static_cast<double>(step.update))); };
  const auto run = [&](std::int64_t begin, std::int64_t end, bool decays) {
    const gpu::AdamWArgs args{static_cast<float>(step.learning_rate), static_cast<float>(step.beta1), static_cast<float>(step.beta2),
                              static_cast<float>(step.epsilon), static_cast<float>(decays ? step.weight_decay : 0.0), bias(step.beta1),
                              bias(step.beta2), static_cast<float>(step.gradient_scale)};
    gpu::adamw(model_.stream(), part(kMaster) + begin, part(kExpAvg) + begin, part(kExpAvgSq) + begin, part(kGradient) + begin,
               model_.weights().data() + begin, end - begin, args);
  };
  // One launch a run of parameters that decay alike; padding stays 0.
  const auto parameters = model_.weights().parameters();
  const auto decays = [&](const Parameter& p) { return step.weight_decay != 0 && (step.decay_vectors || p.shape.size() > 1); };
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const bool last = i + 1 == parameters.size();
    if (!last && decays(parameters[i + 1]) == decays(parameters[i])) continue;
    const std::int64_t end = last ? elements_ : parameters[i + 1].offset;
    run(begin, end, decays(parameters[i]));
    begin = end;
  }
}

std::optional<NonFinite> GpuPolicy::find_non_finite(ParameterPart which) {
  if (which == ParameterPart::kMaster && !trains()) return std::nullopt;
  const float* data = part(which == ParameterPart::kMaster ? kMaster : kGradient);
  gpu::first_non_finite(model_.stream(), data, elements_, result_.as<std::int64_t>(), scratch_.data());
  std::int64_t at = -1;
  gpu::copy_to_host(model_.stream(), &at, result_.data(), sizeof at);
  model_.synchronize();
  if (at < 0) return std::nullopt;
  float value = 0;
  gpu::copy_to_host(model_.stream(), &value, data + at, sizeof value);
  model_.synchronize();
  for (const Parameter& p : model_.weights().parameters())
    if (at >= p.offset && at < p.offset + p.elements) return NonFinite{p.name, at - p.offset, value};
  return NonFinite{"padding of the weight arena", at, value};
}

WeightSnapshot GpuPolicy::optimizer_state() const {
  WeightSnapshot out;
  if (!trains()) return out;
  auto owners = std::make_shared<std::vector<std::shared_ptr<const void>>>();
  for (const auto& [index, prefix] : kSaved) {
    WeightSnapshot one = download(model_.stream(), model_.weights().parameters(), part(index), elements_, DType::kF32, prefix, 0);
    out.tensors.insert(out.tensors.end(), one.tensors.begin(), one.tensors.end());
    owners->push_back(one.owner);
  }
  out.owner = owners;
  return out;
}

void GpuPolicy::restore_optimizer_state(const WeightSnapshot& state) {
  R1_CHECK(trains(), "the state of weights that have no master");
  std::map<std::string, const TensorView*> by_name;
  for (const TensorView& t : state.tensors) by_name[t.name] = &t;
  for (const auto& [index, prefix] : kSaved) {
    for (const Parameter& p : model_.weights().parameters()) {
      const auto found = by_name.find(prefix + p.name);
      if (found == by_name.end()) throw CheckpointError(message("the optimizer state lacks ", prefix, p.name));
      const TensorView& t = *found->second;
      if (t.dtype != DType::kF32 || t.elements() != p.elements)
        throw CheckpointError(message("optimizer state ", t.name, " has ", t.elements(), " elements of ", safetensors_name(t.dtype), ", wanted ",
                                      p.elements, " of F32: it belongs to another model"));
      gpu::copy_to_device(model_.stream(), part(index) + p.offset, t.data, t.bytes());
    }
  }
  gpu::to_bf16(model_.stream(), part(kMaster), model_.weights().data(), elements_);
  model_.synchronize();
}

void GpuPolicy::load(const WeightSnapshot& weights) {
  model_.weights().load(weights);
  if (!trains()) return;
  gpu::master_from_live(model_.stream(), model_.weights().data(), part(kMaster), elements_, options_.master_start == MasterStart::kSpread);
  for (const TensorView& t : weights.tensors)
    if (t.device < 0 && t.dtype == DType::kF32)
      gpu::copy_to_device(model_.stream(), part(kMaster) + model_.weights().find(t.name).offset, t.data, t.bytes());
  model_.synchronize();
}

}  // namespace r1
