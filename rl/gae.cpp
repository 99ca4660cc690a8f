#include "rl/gae.h"

#include <algorithm>

#include "core/error.h"

namespace r1 {

GaeResult gae(std::span<const double> rewards, std::span<const double> values, double gamma, double lambda) {
  const std::size_t n = rewards.size();
  R1_CHECK(values.size() == n, n, " rewards, ", values.size(), " values");
  GaeResult out{std::vector<double>(n), std::vector<double>(n)};
  double next_value = 0, next_advantage = 0;
  for (std::size_t t = n; t-- > 0;) {
    const double delta = rewards[t] + gamma * next_value - values[t];
    next_advantage = out.advantages[t] = delta + gamma * lambda * next_advantage;
    out.returns[t] = out.advantages[t] + values[t];
    next_value = values[t];
  }
  return out;
}

ValueLossOutput value_loss(std::span<const float> values, std::span<const float> old_values, std::span<const float> returns, double clip,
                           std::int64_t denominator) {
  const std::size_t n = values.size();
  R1_CHECK(old_values.size() == n && returns.size() == n && denominator > 0, "the value loss of ", n, " tokens got vectors of other lengths");
  ValueLossOutput out;
  out.d_values.resize(n);
  const double share = 1 / static_cast<double>(denominator);
  for (std::size_t i = 0; i < n; ++i) {
    const double v = values[i], error = v - returns[i];
    const double held = clip > 0 ? std::clamp(v, old_values[i] - clip, old_values[i] + clip) - returns[i] : error;
    const bool clipped = held * held > error * error;
    out.clipped += clipped;
    out.loss += 0.5 * share * (clipped ? held * held : error * error);
    out.d_values[i] = clipped ? 0.f : static_cast<float>(share * error);
  }
  return out;
}

}  // namespace r1
