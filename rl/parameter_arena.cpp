#include "rl/parameter_arena.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "core/spread.h"
#include "rl/state_tensors.h"

namespace r1 {
namespace {

constexpr std::array<const char*, 3> kParts = {"master.", "exp_avg.", "exp_avg_sq."};

}  // namespace

ParameterArena::ParameterArena(const LiveWeights& live, ComputePool& pool, MasterStart start, ArenaParts parts)
    : live_(live), pool_(pool), start_(start), parts_(parts), size_(static_cast<std::size_t>(live.elements)) {
  R1_CHECK(live.dtype == DType::kF32 || live.dtype == DType::kBF16, "live weights of type ",
           safetensors_name(live.dtype));
  gradient_ = ZeroedArray(size_);
  if (parts_ == ArenaParts::kGradient) {
    master_ = nullptr;
    return;
  }
  if (live.dtype == DType::kF32) {
    master_ = reinterpret_cast<float*>(live.data);
  } else {
    own_master_ = ZeroedArray(size_);
    master_ = own_master_.data();
    started_ = false;
  }
  exp_avg_ = ZeroedArray(size_);
  exp_avg_sq_ = ZeroedArray(size_);
}

void ParameterArena::start_master() {
  if (!started_) copy_from_live();
}

void ParameterArena::copy_from_live() {
  started_ = true;
  if (own_master_.empty()) return;
  for (const ElementRange& r : own(0, static_cast<std::int64_t>(size_))) {
    cpu::convert(pool_, reinterpret_cast<const cpu::bf16*>(live_.data) + r.begin, master_ + r.begin, r.size());
    if (start_ != MasterStart::kSpread) continue;
    pool_.parallel_for(r.size(), 1 << 16, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = r.begin + begin; i < r.begin + end; ++i)
        master_[i] = std::bit_cast<float>(spread_in_cell(std::bit_cast<std::uint32_t>(master_[i]), static_cast<std::uint64_t>(i)));
    });
  }
}

void ParameterArena::load_master(const WeightSnapshot& source) {
  copy_from_live();
  if (sharded()) release_foreign();
  if (own_master_.empty()) return;
  for (const TensorView& t : source.tensors) {
    if (t.dtype != DType::kF32) continue;
    for (const Parameter& p : live_.parameters)
      if (p.name == t.name && p.elements == t.elements())
        for (const ElementRange& r : own(p.offset, p.offset + p.elements))
          std::memcpy(master_ + r.begin, reinterpret_cast<const float*>(t.data) + (r.begin - p.offset), static_cast<std::size_t>(r.size()) * sizeof(float));
  }
}

void ParameterArena::write_live() {
  if (own_master_.empty()) return;
  for (const ElementRange& r : own(0, static_cast<std::int64_t>(size_))) cpu::convert(pool_, master_ + r.begin, reinterpret_cast<cpu::bf16*>(live_.data) + r.begin, r.size());
}

void ParameterArena::zero_gradient() {
  for (Lanes& l : closed_) spare_.push_back(std::move(l.sum));
  closed_.clear();
  if (gradient_is_sharded()) {
    share_.clear(0, static_cast<std::int64_t>(size_));
    gradient_.clear(0, static_cast<std::int64_t>(size_));
    return;
  }
  pool_.parallel_for(static_cast<std::int64_t>(size_), 1 << 18, [&](std::int64_t begin, std::int64_t end) {
    std::fill(gradient_.data() + begin, gradient_.data() + end, 0.f);
  });
}

void ParameterArena::adamw(const AdamWStep& step) {
  R1_CHECK(parts_ == ArenaParts::kAll, "an optimizer step of weights that have no master");
  start_master();
  if (gathered_) release_foreign();
  const auto bias = [&](double beta) {
    return static_cast<float>(1 - std::pow(beta, static_cast<double>(step.update)));
  };
  cpu::bf16* live = own_master_.empty() ? nullptr : reinterpret_cast<cpu::bf16*>(live_.data);
  for (const Parameter& p : live_.parameters) {
    const bool decays = step.decay_vectors || p.shape.size() > 1;
    const cpu::AdamWArgs args{static_cast<float>(step.learning_rate), static_cast<float>(step.beta1),
                              static_cast<float>(step.beta2),         static_cast<float>(step.epsilon),
                              static_cast<float>(decays ? step.weight_decay : 0.0), bias(step.beta1), bias(step.beta2),
                              static_cast<float>(step.gradient_scale)};
    for (const ElementRange& r : own(p.offset, p.offset + p.elements))
      cpu::adamw(pool_, master_ + r.begin, exp_avg_.data() + r.begin, exp_avg_sq_.data() + r.begin, summed() + r.begin,
                 live ? live + r.begin : nullptr, r.size(), args);
  }
  share_live();
}

NonFinite ParameterArena::name(std::int64_t at, float value) const {
  for (const Parameter& p : live_.parameters)
    if (at >= p.offset && at < p.offset + p.elements) return {p.name, at - p.offset, value};
  return {"padding of the weight arena", at, value};
}

WeightSnapshot ParameterArena::state() const {
  WeightSnapshot out;
  if (parts_ == ArenaParts::kGradient) return out;
  const_cast<ParameterArena*>(this)->start_master();
  gather_state();
  const std::array<const float*, 3> data = {master_, exp_avg_.data(), exp_avg_sq_.data()};
  for (std::size_t part = 0; part < kParts.size(); ++part)
    for (const Parameter& p : live_.parameters)
      out.tensors.push_back(
          {kParts[part] + p.name, DType::kF32, p.shape, reinterpret_cast<const std::byte*>(data[part] + p.offset), -1});
  return out;
}

void ParameterArena::restore(const WeightSnapshot& state) {
  R1_CHECK(parts_ == ArenaParts::kAll, "the state of weights that have no master");
  started_ = true;
  const StateTensors tensors(state);
  const std::array<float*, 3> data = {master_, exp_avg_.data(), exp_avg_sq_.data()};
  for (std::size_t part = 0; part < kParts.size(); ++part)
    for (const Parameter& p : live_.parameters) {
      const TensorView& t = tensors.at(kParts[part] + p.name, DType::kF32, p.elements);
      for (const ElementRange& r : own(p.offset, p.offset + p.elements))
        std::memcpy(data[part] + r.begin, reinterpret_cast<const float*>(t.data) + (r.begin - p.offset), static_cast<std::size_t>(r.size()) * sizeof(float));
    }
  write_live();
  share_live();
}

}  // namespace r1
