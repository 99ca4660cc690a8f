// Learning rate as a function of the update. Pure.
#pragma once

#include <cstdint>
#include <string_view>

namespace r1 {

enum class LrSchedule : std::uint8_t { kConstant, kLinear, kCosine, kCosineWithMinLr };
LrSchedule parse_lr_schedule(
    std::string_view name);  // constant, linear, cosine, cosine_with_min_lr; throws ConfigError

struct LrOptions {
  double peak = 1e-6;
  LrSchedule schedule = LrSchedule::kConstant;
  std::int64_t warmup = 0;      // updates; the k-th of them (from 1) has peak * k / warmup: none is wasted at 0
  std::int64_t total = 1;       // updates of the run: where linear and cosine end
  double min_ratio = 0;         // of the peak, for cosine_with_min_lr
};
// `update` counts from 0. After `total` the last value stays.
double learning_rate(const LrOptions& options, std::int64_t update);

}  // namespace r1
