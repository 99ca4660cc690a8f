// rho A, never clipped: REINFORCE (Williams 1992) and RLOO (arXiv:2402.14740) with importance weights.
#include "rl/surrogates/surrogate.h"

namespace r1 {
namespace {

SurrogateTerm ratio(double rho, double a, double, std::span<const double>) {
  SurrogateTerm t;
  t.value = rho * a;
  t.d_ratio = a;
  return t;
}

}  // namespace

const Surrogate& ratio_surrogate() {
  static const Surrogate s{"ratio", "arXiv:2402.14740", {}, ratio, nullptr, nullptr};
  return s;
}

}  // namespace r1
