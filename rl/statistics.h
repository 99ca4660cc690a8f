// Estimates with intervals for evaluations. Pure functions.
#pragma once

#include <cstdint>
#include <span>

namespace r1 {

struct Interval {
  double low = 0, high = 0;
};

// 95 % Wilson score interval of a share: `successes` of n independent items. n = 0 gives [0, 1].
Interval wilson_interval(std::int64_t successes, std::int64_t n);

// Chance that at least one of k samples is right, from n samples of which c were: 1 - C(n-c,k)/C(n,k)
// (arXiv:2107.03374, unbiased). k <= n.
double pass_at_k(std::int64_t n, std::int64_t c, std::int64_t k);

// Standard error of pass@1 over fixed items: sqrt(sum of var_i) / N, var_i = p_i (1 - p_i) / (k_i - 1) the unbiased
// variance of item i's mean over k_i samples of which right[i] were right. It is what would change if the same items were
// sampled again. NaN if an item has fewer than two samples.
double sampling_standard_error(std::span<const std::int64_t> right, std::span<const std::int64_t> samples);
// Standard error of the mean where the items too are a draw from all that might have been asked:
// sqrt(sum (x_i - mean)^2 / (N - 1) / N). It holds the sampling noise already. NaN below two items.
double standard_error(std::span<const double> items);

// 95 % percentile bootstrap of the mean over items (clusters: an item's samples stay together). 2,000 resamples drawn
// from `seed`. Items with equal values give an interval of no width, so add the Wilson interval where all are 0 or 1.
Interval bootstrap_mean(std::span<const double> items, std::uint64_t seed);

double mean_of(std::span<const double> values);  // NaN if empty

}  // namespace r1
