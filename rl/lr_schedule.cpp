#include "rl/lr_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.h"

namespace r1 {

LrSchedule parse_lr_schedule(std::string_view name) {
  if (name == "constant") return LrSchedule::kConstant;
  if (name == "linear") return LrSchedule::kLinear;
  if (name == "cosine") return LrSchedule::kCosine;
  if (name == "cosine_with_min_lr") return LrSchedule::kCosineWithMinLr;
  throw ConfigError(message("rl.schedule is \"", name, "\"; it can be constant, linear, cosine, cosine_with_min_lr"));
}

double learning_rate(const LrOptions& o, std::int64_t update) {
  if (update < o.warmup) return o.peak * static_cast<double>(update + 1) / static_cast<double>(o.warmup);
  const auto span = static_cast<double>(std::max<std::int64_t>(1, o.total - o.warmup));
  const double progress = std::min(1.0, static_cast<double>(update - o.warmup) / span);
  const double cosine = 0.5 * (1 + std::cos(std::numbers::pi * progress));
  switch (o.schedule) {
    case LrSchedule::kConstant: return o.peak;
    case LrSchedule::kLinear: return o.peak * (1 - progress);
    case LrSchedule::kCosine: return o.peak * cosine;
    case LrSchedule::kCosineWithMinLr: return o.peak * (o.min_ratio + (1 - o.min_ratio) * cosine);
  }
  return o.peak;
}

}  // namespace r1
