// PPO's clipped objective (arXiv:1707.06347), with DAPO's two ends (arXiv:2503.14476) and the dual clip of arXiv:1912.09729, which
// is also INTELLECT-2's two-sided clip (arXiv:2505.07291, delta = 4; TRL calls it delta).
#include <algorithm>

#include "rl/surrogates/surrogate.h"

namespace r1 {
namespace {

constexpr SurrogateOption kOptions[] = {
    {"clip_low", 0.2, 0, 1e6},    // the region is [1 - clip_low, 1 + clip_high]; R1 publishes 10: the lower side never acts
    {"clip_high", 0.28, 0, 1e6},
    {"dual_clip", 0, 0, 1e6},     // c > 1: for A < 0 the ratio counts as at most c; 0 = off
};

SurrogateTerm clip(double rho, double a, double, std::span<const double> o) {
  const double low = 1 - o[0], high = 1 + o[1], c = o[2];
  SurrogateTerm t;
  t.clipped_low = rho < low && a < 0;
  t.clipped_high = rho > high && a > 0;
  // The smaller of the two products; on a tie both have the same derivative.
  const double clipped = std::clamp(rho, low, high);
  const bool inside = rho * a <= clipped * a;
  t.value = inside ? rho * a : clipped * a;
  t.d_ratio = inside ? a : 0;
  if (c > 0 && a < 0 && t.value < c * a) t.value = c * a, t.d_ratio = 0;
  return t;
}

std::optional<std::pair<std::string_view, std::string>> check(std::span<const double> o) {
  if (o[2] != 0 && o[2] <= 1) return {{"dual_clip", "must be above 1, or 0 for none"}};
  return std::nullopt;
}

}  // namespace

const Surrogate& clip_surrogate() {
  static const Surrogate s{"clip", "arXiv:1707.06347", kOptions, clip, nullptr, check};
  return s;
}

}  // namespace r1
