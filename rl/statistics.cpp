#include "rl/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "core/error.h"
#include "core/rng.h"

namespace r1 {
namespace {
constexpr double kZ95 = 1.959963984540054;
constexpr int kResamples = 2000;
constexpr std::uint64_t kStream = 0x626f6f74ull;  // "boot"
}  // namespace

Interval wilson_interval(std::int64_t successes, std::int64_t n) {
  if (n == 0) return {0, 1};
  const auto count = static_cast<double>(n);
  const double p = static_cast<double>(successes) / count, z2 = kZ95 * kZ95;
  const double centre = (p + z2 / (2 * count)) / (1 + z2 / count);
  const double half = kZ95 / (1 + z2 / count) * std::sqrt(p * (1 - p) / count + z2 / (4 * count * count));
  return {std::max(0.0, centre - half), std::min(1.0, centre + half)};
}

double pass_at_k(std::int64_t n, std::int64_t c, std::int64_t k) {
  R1_CHECK(k >= 1 && k <= n && c >= 0 && c <= n, "pass@", k, " from ", n, " samples of which ", c, " are right");
  if (n - c < k) return 1;
  double miss = 1;
  for (std::int64_t i = n - c + 1; i <= n; ++i) miss *= 1 - static_cast<double>(k) / static_cast<double>(i);
  return 1 - miss;
}

double sampling_standard_error(std::span<const std::int64_t> right, std::span<const std::int64_t> samples) {
  R1_CHECK(right.size() == samples.size(), right.size(), " counts of right samples, ", samples.size(), " of samples");
  double sum = 0;
  for (std::size_t i = 0; i < right.size(); ++i) {
    if (samples[i] < 2) return std::numeric_limits<double>::quiet_NaN();
    const double k = static_cast<double>(samples[i]), p = static_cast<double>(right[i]) / k;
    sum += p * (1 - p) / (k - 1);
  }
  return std::sqrt(sum) / static_cast<double>(right.size());
}

double standard_error(std::span<const double> items) {
  if (items.size() < 2) return std::numeric_limits<double>::quiet_NaN();
  const double mean = mean_of(items), n = static_cast<double>(items.size());
  double squares = 0;
  for (const double x : items) squares += (x - mean) * (x - mean);
  return std::sqrt(squares / (n - 1) / n);
}

Interval bootstrap_mean(std::span<const double> items, std::uint64_t seed) {
  if (items.empty()) return {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::quiet_NaN()};
  StreamRng rng(seed, kStream);
  std::vector<double> means;
  for (int r = 0; r < kResamples; ++r) {
    double sum = 0;
    for (std::size_t i = 0; i < items.size(); ++i) sum += items[rng.below(items.size())];
    means.push_back(sum / static_cast<double>(items.size()));
  }
  std::sort(means.begin(), means.end());
  return {means[static_cast<std::size_t>(0.025 * kResamples)], means[static_cast<std::size_t>(0.975 * kResamples) - 1]};
}

double mean_of(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

}  // namespace r1
