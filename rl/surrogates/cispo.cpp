// CISPO (arXiv:2506.13585): sg[min(rho, cap)] A ln pi. The ratio only weighs, so every token keeps a gradient.
#include <algorithm>

#include "rl/surrogates/surrogate.h"

namespace r1 {
namespace {

constexpr SurrogateOption kOptions[] = {
    {"cispo_ratio_cap", 5, 1e-6, 1e6},  // the cap itself, as TRL's epsilon_high; 5 is the value of arXiv:2510.13786
};

SurrogateTerm cispo(double rho, double a, double logprob, std::span<const double> o) {
  SurrogateTerm t;
  const double weight = std::min(rho, o[0]);
  t.value = weight * a * logprob;
  t.d_logprob = weight * a;
  t.clipped_high = rho > o[0] && a > 0;
  return t;
}

}  // namespace

const Surrogate& cispo_surrogate() {
  static const Surrogate s{"cispo", "arXiv:2506.13585", kOptions, cispo, nullptr, nullptr};
  return s;
}

}  // namespace r1
