// Is one model better than another on the same items? Paired tests on the difference of each item's score. Pure
// functions; random draws are keyed by a seed.
#pragma once

#include <cstdint>
#include <span>

#include "rl/statistics.h"

namespace r1 {

// McNemar's test for right/wrong outcomes of the same items: `only_a` items that A alone solved, `only_b` that B alone
// did. Two-sided p-value of the exact form: under the null each of the n = only_a + only_b discordant items is a fair
// coin, p = min(1, 2 * P(Binomial(n, 1/2) <= min(only_a, only_b))). 1 if n = 0.
double mcnemar_exact(std::int64_t only_a, std::int64_t only_b);

// Two-sided sign-flip permutation test of mean(differences) = 0: the share of sign patterns whose |mean| is at least the
// observed one. All 2^m patterns of the m non-zero differences for m <= 16, else 20,000 random ones with the observed
// pattern counted in: (1 + hits) / (1 + draws). 1 if every difference is 0.
struct PermutationTest {
  double p = 1;
  bool exact = true;
};
PermutationTest permutation_test(std::span<const double> differences, std::uint64_t seed);

// The smallest true difference of means that a two-sided test at 5 % finds with 80 % power, from the standard error of
// the difference: (z_0.975 + z_0.8) * se = 2.8016 * se.
double smallest_detectable(double standard_error_of_difference);
// The same before a second model was run: items scored independently with equal spread, se_difference = sqrt(2) * se.
// Paired results usually do better, since models find the same items hard.
double smallest_detectable_unpaired(double standard_error_of_one);

struct PairedComparison {
  std::int64_t items = 0;
  double mean_a = 0, mean_b = 0, difference = 0;  // b - a
  Interval interval;                              // 95 % bootstrap over items of the difference
  double standard_error = 0;                      // of the difference, over items; NaN below two items
  double correlation = 0;                         // of the item scores; NaN if one side is constant
  PermutationTest permutation;
  // Where both sides are right/wrong (scores 0 and 1 only), else -1 and NaN.
  std::int64_t only_a = -1, only_b = -1;
  double mcnemar_p = 0;
  double smallest_detectable = 0;  // NaN if all differences are equal
};

// Scores of the same items in the same order, each in [0, 1] (the share of an item's samples that were right). Throws
// DataError if the lengths differ or there is no item.
PairedComparison compare_paired(std::span<const double> a, std::span<const double> b, std::uint64_t seed);

}  // namespace r1
