#include "rl/gpu_lora.h"

#include "comm/session.h"

#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "rl/state_tensors.h"

namespace r1 {
namespace {

constexpr std::array<const char*, 3> kParts = {"master.", "exp_avg.", "exp_avg_sq."};

std::size_t rounded(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

struct Sizes {
  std::size_t values, mask, slots, base;
  explicit Sizes(const LoraAdapter& adapter)
      : values(rounded(adapter.values().size_bytes())), mask(rounded(static_cast<std::size_t>(adapter.columns()) * sizeof(float))),
        slots(rounded(adapter.pairs().size() * sizeof(gpu::LoraSlot))), base(0) {
    for (const LoraPair& p : adapter.pairs()) base += rounded(static_cast<std::size_t>(p.out * p.in) * sizeof(gpu::bf16));
  }
};

}  // namespace

std::size_t GpuLora::bytes(const LoraAdapter& adapter) {
  const Sizes s(adapter);
  return 4 * s.values + s.mask + s.slots + s.base;
}

GpuLora::GpuLora(GpuTransformer& model, GpuOptimizer& gradient, LoraAdapter adapter)
    : model_(model), model_gradient_(gradient), adapter_(std::move(adapter)), memory_(bytes(adapter_)), scratch_(gpu::reduce_scratch_bytes()),
      result_(64) {
  gpu::fill_bytes(model_.stream(), memory_.data(), 0, memory_.bytes());
  const Sizes s(adapter_);
  std::byte* next = memory_.data();
  const auto take = [&]<class T>(T*& array, std::size_t bytes) { array = reinterpret_cast<T*>(next), next += bytes; };
  for (float** array : {&values_, &gradient_, &exp_avg_, &exp_avg_sq_}) take(*array, s.values);
  take(mask_, s.mask), take(slots_, s.slots), take(base_, s.base);
  std::vector<gpu::LoraSlot> slots;
  std::int64_t at = 0;
  for (const LoraPair& p : adapter_.pairs()) {
    const Parameter& weight = model_.weights().find(p.weight.name);
    R1_CHECK(weight.shape == p.weight.shape, "the model's ", p.weight.name, " has another shape than the adapter's");
    slots.push_back({weight.offset, at, p.out, p.in, p.a, p.b, p.column});
    at += static_cast<std::int64_t>(rounded(static_cast<std::size_t>(p.out * p.in) * sizeof(gpu::bf16)) / sizeof(gpu::bf16));
  }
  work_ = gpu::lay_out_tiles(slots.data(), std::ssize(slots), adapter_.options().rank, static_cast<float>(adapter_.options().scale()));
  work_.slots = slots_;
  gpu::copy_to_device(model_.stream(), slots_, slots.data(), slots.size() * sizeof(gpu::LoraSlot));
  to_device(values_, adapter_.values());
  take_base(false);
}

std::vector<float> GpuLora::host(const float* array) const {
  std::vector<float> out(adapter_.values().size());
  gpu::copy_to_host(model_.stream(), out.data(), array, out.size() * sizeof(float));
  model_.synchronize();
  return out;
}

void GpuLora::to_device(float* array, std::span<const float> values) {
  gpu::copy_to_device(model_.stream(), array, values.data(), values.size_bytes());
  model_.synchronize();
}

const float* GpuLora::on_device(std::span<const float> mask) {
  if (mask.empty()) return nullptr;
  to_device(mask_, mask);
  return mask_;
}

const LoraAdapter& GpuLora::adapter() const {
  if (host_is_old_) {
    const std::vector<float> values = host(values_);
    std::copy(values.begin(), values.end(), adapter_.values().begin());
    host_is_old_ = false;
  }
  return adapter_;
}

void GpuLora::take_base(bool clear) {
  std::int64_t at = 0;
  for (const LoraPair& p : adapter_.pairs()) {
    const std::size_t size = static_cast<std::size_t>(p.out * p.in) * sizeof(gpu::bf16);
    gpu::copy_on_device(model_.stream(), base_ + at, model_.weights().at(model_.weights().find(p.weight.name)), size);
    at += static_cast<std::int64_t>(rounded(size) / sizeof(gpu::bf16));
  }
  if (clear) {
    adapter();
    adapter_.set_b_to_zero();
    to_device(values_, adapter_.values());
  }
  model_.synchronize();
}

void GpuLora::merge(std::span<const float> mask) {
  gpu::lora_merge(model_.stream(), work_, values_, on_device(mask), base_, model_.weights().data());
  model_.synchronize();  // the engine has a stream of its own
}

void GpuLora::zero_gradient() { gpu::fill_bytes(model_.stream(), gradient_, 0, adapter_.values().size_bytes()); }

void GpuLora::project(std::span<const float> mask) {
  const GpuGradient g = model_gradient_.gradient();
  if (g.is_bf16()) gpu::lora_project(model_.stream(), work_, values_, on_device(mask), g.bf16(), gradient_);
  else gpu::lora_project(model_.stream(), work_, values_, on_device(mask), g.f32(), gradient_);
}

double GpuLora::gradient_sum_of_squares() {
  gpu::sum_of_squares(model_.stream(), gradient_, size(), result_.as<double>(), scratch_.data());
  double out = 0;
  gpu::copy_to_host(model_.stream(), &out, result_.data(), sizeof out);
  model_.synchronize();
  return out;
}

void GpuLora::adamw(const AdamWStep& step) {
  const auto bias = [&](double beta) { return static_cast<float>(1.0 - std::pow(beta, static_cast<double>(step.update))); };
  const gpu::AdamWArgs args{static_cast<float>(step.learning_rate), static_cast<float>(step.beta1), static_cast<float>(step.beta2),
                            static_cast<float>(step.epsilon), static_cast<float>(step.weight_decay), bias(step.beta1), bias(step.beta2),
                            static_cast<float>(step.gradient_scale)};
  gpu::adamw(model_.stream(), values_, exp_avg_, exp_avg_sq_, gradient_, nullptr, size(), args);  // all are matrices: all decay alike
  host_is_old_ = true;
}

std::optional<NonFinite> GpuLora::find_non_finite(ParameterPart part) {
  const float* array = part == ParameterPart::kMaster ? values_ : gradient_;
  gpu::first_non_finite(model_.stream(), array, size(), result_.as<std::int64_t>(), scratch_.data());
  std::int64_t at = -1;
  gpu::copy_to_host(model_.stream(), &at, result_.data(), sizeof at);
  model_.synchronize();
  if (at < 0) return std::nullopt;
  float value = 0;
  gpu::copy_to_host(model_.stream(), &value, array + at, sizeof value);
  model_.synchronize();
  for (const Parameter& p : adapter_.parameters())
    if (at >= p.offset && at < p.offset + p.elements) return NonFinite{p.name, at - p.offset, value};
  throw Error(message("element ", at, " of an adapter of ", size()));
}

WeightSnapshot GpuLora::optimizer_state() const {
  auto owner = std::make_shared<std::array<std::vector<float>, 3>>();
  *owner = {host(values_), host(exp_avg_), host(exp_avg_sq_)};
  WeightSnapshot out;
  for (std::size_t part = 0; part < kParts.size(); ++part)
    for (const Parameter& p : adapter_.parameters())
      out.tensors.push_back({kParts[part] + p.name, DType::kF32, p.shape, reinterpret_cast<const std::byte*>((*owner)[part].data() + p.offset), -1});
  out.owner = std::move(owner);
  return out;
}

void GpuLora::restore_optimizer_state(const WeightSnapshot& state) {
  const StateTensors tensors(state);
  const std::array<float*, 3> arrays = {values_, exp_avg_, exp_avg_sq_};
  for (std::size_t part = 0; part < kParts.size(); ++part) {
    std::vector<float> values(adapter_.values().size());
    for (const Parameter& p : adapter_.parameters()) {
      const TensorView& t = tensors.at(kParts[part] + p.name, DType::kF32, p.elements);
      std::memcpy(values.data() + p.offset, t.data, t.bytes());
    }
    to_device(arrays[part], values);
  }
  host_is_old_ = true;
}

// Small: every rank keeps all of it.
void GpuLora::join(Session& session, int) {
  if (session.world() == 1) return;
  session_ = &session;
  session.device_comm();  // now, while all ranks are here
}

void GpuLora::close_lane() {
  if (++closed_lanes_ > 1) throw ConfigError("train.lanes above the number of ranks needs a gradient a lane, which the GPU's plan has no room for; leave train.lanes out");
}

void GpuLora::finish_gradient() {
  closed_lanes_ = 0;
  if (!session_) return;
  model_.synchronize();
  session_->device_comm().all_reduce(gradient_, DType::kF32, size(), "the gradient's sum");
}

}  // namespace r1
