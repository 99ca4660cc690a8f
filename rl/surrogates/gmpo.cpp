// GMPO (arXiv:2507.20673): the geometric mean of an answer's token ratios, each clipped in log space on the side that the sign of
// its advantage makes harmful. As one ratio R for the whole answer: value R A_t a token, so that the mean over tokens is R mean(A).
#include <algorithm>
#include <cmath>

#include "rl/surrogates/surrogate.h"

namespace r1 {
namespace {

constexpr SurrogateOption kOptions[] = {
    {"clip_low", 0.4, 0, 20},   // nats: for A < 0 a token's log-ratio counts as at least -clip_low
    {"clip_high", 0.4, 0, 20},  // for A > 0 as at most clip_high
};

void gmpo(const AnswerTokens& in, std::span<const double> o, AnswerTerms& out) {
  const std::size_t n = in.log_ratio.size();
  double sum = 0, weighted_advantage = 0;
  for (std::size_t t = 0; t < n; ++t) {
    const double a = in.advantages[t], x = in.log_ratio[t];
    out.clipped_low[t] = a < 0 && x < -o[0];
    out.clipped_high[t] = a > 0 && x > o[1];
    if (a != 0) sum += out.clipped_low[t] ? -o[0] : out.clipped_high[t] ? o[1] : x;
    weighted_advantage += in.weights[t] * a;
  }
  const double mean = sum / static_cast<double>(n), ratio = std::exp(std::clamp(mean, -20.0, 20.0));
  const double slope = std::abs(mean) <= 20 ? ratio / static_cast<double>(n) * weighted_advantage : 0;
  for (std::size_t t = 0; t < n; ++t) {
    out.value[t] = ratio * in.advantages[t];
    out.gradient[t] = in.advantages[t] == 0 || out.clipped_low[t] || out.clipped_high[t] ? 0 : slope;
  }
}

}  // namespace

const Surrogate& gmpo_surrogate() {
  static const Surrogate s{"gmpo", "arXiv:2507.20673", kOptions, nullptr, gmpo, nullptr};
  return s;
}

}  // namespace r1
