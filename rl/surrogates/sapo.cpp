// SAPO (arXiv:2511.20347): a soft gate in place of the clip, sigmoid(tau (rho - 1)) 4 / tau A. Its slope at rho = 1 is 1 and fades
// on both sides; tokens of negative advantages fade faster.
#include <cmath>

#include "rl/surrogates/surrogate.h"

namespace r1 {
namespace {

constexpr SurrogateOption kOptions[] = {
    {"sapo_tau_pos", 1.0, 1e-3, 1e3},   // for A > 0
    {"sapo_tau_neg", 1.05, 1e-3, 1e3},  // for A <= 0
};

SurrogateTerm sapo(double rho, double a, double, std::span<const double> o) {
  const double tau = a > 0 ? o[0] : o[1], gate = 1 / (1 + std::exp(-tau * (rho - 1)));
  SurrogateTerm t;
  t.value = gate * 4 / tau * a;
  t.d_ratio = 4 * gate * (1 - gate) * a;
  return t;
}

}  // namespace

const Surrogate& sapo_surrogate() {
  static const Surrogate s{"sapo", "arXiv:2511.20347", kOptions, sapo, nullptr, nullptr};
  return s;
}

}  // namespace r1
