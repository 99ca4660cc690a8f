// VESPO (arXiv:2602.10693): sg[phi(W)] A ln pi with W the product of an answer's ratios and phi(W) = W^k e^(lambda (1 - W)): 1 on
// policy, fading smoothly as the answer drifts either way. A mismatch weight multiplies it as it does any other term (TRL puts it
// into W instead).
#include <algorithm>
#include <cmath>

#include "rl/surrogates/surrogate.h"

namespace r1 {
namespace {

constexpr SurrogateOption kOptions[] = {
    {"vespo_k_pos", 2, 0, 1e3},        // for A >= 0
    {"vespo_lambda_pos", 3, 1e-4, 1e3},
    {"vespo_k_neg", 3, 0, 1e3},        // for A < 0
    {"vespo_lambda_neg", 2, 1e-4, 1e3},
};

void vespo(const AnswerTokens& in, std::span<const double> o, AnswerTerms& out) {
  const double lowest = std::log(1e-8), highest = 20;
  double log_w = 0;
  for (double x : in.log_ratio) log_w += std::clamp(x, -highest, highest);
  log_w = std::clamp(log_w, lowest, highest);
  const auto phi = [&](double k, double lambda) { return std::exp(lambda + k * log_w - lambda * std::exp(log_w)); };
  const double positive = phi(o[0], o[1]), negative = phi(o[2], o[3]);
  for (std::size_t t = 0; t < out.value.size(); ++t) {
    const double a = in.advantages[t], weight = (a >= 0 ? positive : negative) * a;
    out.value[t] = weight * in.logprobs[t];
    out.gradient[t] = in.weights[t] * weight;
  }
}

}  // namespace

const Surrogate& vespo_surrogate() {
  static const Surrogate s{"vespo", "arXiv:2602.10693", kOptions, nullptr, vespo, nullptr};
  return s;
}

}  // namespace r1
