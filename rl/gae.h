// Generalised advantage estimation and the value loss of PPO: pure functions of one answer or of [N] vectors, torch-free.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace r1 {

struct GaeResult {
  std::vector<double> advantages, returns;  // [T]; return = advantage + value
};
// Of one answer: rewards [T] of its trained tokens, values [T] of the states they were drawn in; the state after the last is worth
// 0. delta_t = r_t + gamma V_{t+1} - V_t, A_t = delta_t + gamma lambda A_{t+1} (arXiv:1506.02438).
GaeResult gae(std::span<const double> rewards, std::span<const double> values, double gamma, double lambda);

struct ValueLossOutput {
  double loss = 0;
  std::vector<float> d_values;   // [N]
  std::int64_t clipped = 0;      // tokens whose clipped error is the larger one: they have no gradient
};
// 1/2 mean max((V - ret)^2, (clip(V, V_old +- clip) - ret)^2); the mean is over `denominator` tokens, those of the whole update.
// clip 0 = no clipping. (arXiv:1707.06347's companion code; verl and TRL alike.)
ValueLossOutput value_loss(std::span<const float> values, std::span<const float> old_values, std::span<const float> returns, double clip,
                           std::int64_t denominator);

}  // namespace r1
