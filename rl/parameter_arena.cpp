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
  gradient_.assign(size_, 0.f);
  if (parts_ == ArenaParts::kGradient) {
    master_ = nullptr;
    return;
  }
  if (live.dtype == DType::kF32) {
    master_ = reinterpret_cast<float*>(live.data);
  } else {
    own_master_.assign(size_, 0.f);
    master_ = own_master_.data();
  }
  exp_avg_.assign(size_, 0.f);
  exp_avg_sq_.assign(size_, 0.f);
  copy_from_live();
}

void ParameterArena::copy_from_live() {
  if (own_master_.empty()) return;
  const auto n = static_cast<std::int64_t>(size_);
  cpu::convert(pool_, reinterpret_cast<const cpu::bf16*>(live_.data), master_, n);
  if (start_ == MasterStart::kSpread)
    pool_.parallel_for(n, 1 << 16, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        master_[i] = std::bit_cast<float>(spread_in_cell(std::bit_cast<std::uint32_t>(master_[i]), static_cast<std::uint64_t>(i)));
    });
}

void ParameterArena::load_master(const WeightSnapshot& source) {
  copy_from_live();
  if (own_master_.empty()) return;
  for (const TensorView& t : source.tensors) {
    if (t.dtype != DType::kF32) continue;
    for (const Parameter& p : live_.parameters)
      if (p.name == t.name && p.elements == t.elements()) std::memcpy(master_ + p.offset, t.data, t.bytes());
  }
}

void ParameterArena::write_live() {
  if (own_master_.empty()) return;
  cpu::convert(pool_, master_, reinterpret_cast<cpu::bf16*>(live_.data), static_cast<std::int64_t>(size_));
}

void ParameterArena::zero_gradient() {
  pool_.parallel_for(static_cast<std::int64_t>(size_), 1 << 18, [&](std::int64_t begin, std::int64_t end) {
    std::fill(gradient_.begin() + begin, gradient_.begin() + end, 0.f);
  });
}

double ParameterArena::gradient_sum_of_squares() {
  return cpu::sum_of_squares(pool_, gradient_.data(), static_cast<std::int64_t>(size_));
}

void ParameterArena::adamw(const AdamWStep& step) {
  R1_CHECK(parts_ == ArenaParts::kAll, "an optimizer step of weights that have no master");
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
    cpu::adamw(pool_, master_ + p.offset, exp_avg_.data() + p.offset, exp_avg_sq_.data() + p.offset,
               gradient_.data() + p.offset, live ? live + p.offset : nullptr, p.elements, args);
  }
}

std::optional<NonFinite> ParameterArena::find_non_finite(ParameterPart part) {
  if (part == ParameterPart::kMaster && parts_ == ArenaParts::kGradient) return std::nullopt;
  const float* data = part == ParameterPart::kMaster ? master_ : gradient_.data();
  const std::int64_t at = cpu::first_non_finite(pool_, data, static_cast<std::int64_t>(size_));
  if (at < 0) return std::nullopt;
  for (const Parameter& p : live_.parameters)
    if (at >= p.offset && at < p.offset + p.elements) return NonFinite{p.name, at - p.offset, data[at]};
  return NonFinite{"padding of the weight arena", at, data[at]};
}

WeightSnapshot ParameterArena::state() const {
  WeightSnapshot out;
  if (parts_ == ArenaParts::kGradient) return out;
  const std::array<const float*, 3> data = {master_, exp_avg_.data(), exp_avg_sq_.data()};
  for (std::size_t part = 0; part < kParts.size(); ++part)
    for (const Parameter& p : live_.parameters)
      out.tensors.push_back(
          {kParts[part] + p.name, DType::kF32, p.shape, reinterpret_cast<const std::byte*>(data[part] + p.offset), -1});
  return out;
}

void ParameterArena::restore(const WeightSnapshot& state) {
  R1_CHECK(parts_ == ArenaParts::kAll, "the state of weights that have no master");
  const StateTensors tensors(state);
  const std::array<float*, 3> data = {master_, exp_avg_.data(), exp_avg_sq_.data()};
  for (std::size_t part = 0; part < kParts.size(); ++part)
    for (const Parameter& p : live_.parameters) {
      const TensorView& t = tensors.at(kParts[part] + p.name, DType::kF32, p.elements);
      std::memcpy(data[part] + p.offset, t.data, t.bytes());
    }
  write_live();
}

}  // namespace r1
