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

// 95 % percentile bootstrap of the mean over items (clusters: an item's samples stay together). 2,000 resamples drawn
// from `seed`. Items with equal values give an interval of no width, so add the Wilson interval where all are 0 or 1.
Interval bootstrap_mean(std::span<const double> items, std::uint64_t seed);

double mean_of(std::span<const double> values);  // NaN if empty

}  // namespace r1
