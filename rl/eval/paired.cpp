#include "rl/eval/paired.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/error.h"
#include "core/rng.h"

namespace r1 {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kPower = 1.959963984540054 + 0.8416212335729143;  // z_0.975 + z_0.8
constexpr std::uint64_t kStream = 0x7065726dull;                   // "perm"
constexpr std::size_t kExact = 16;
constexpr int kDraws = 20'000;

double correlation_of(std::span<const double> a, std::span<const double> b) {
  const double ma = mean_of(a), mb = mean_of(b);
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - ma) * (b[i] - mb);
    aa += (a[i] - ma) * (a[i] - ma);
    bb += (b[i] - mb) * (b[i] - mb);
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : kNaN;
}

}  // namespace

double mcnemar_exact(std::int64_t only_a, std::int64_t only_b) {
  R1_CHECK(only_a >= 0 && only_b >= 0, "McNemar with ", only_a, " and ", only_b);
  const std::int64_t n = only_a + only_b, low = std::min(only_a, only_b);
  if (n == 0) return 1;
  const double log_half = static_cast<double>(n) * std::log(0.5), log_n = std::lgamma(static_cast<double>(n) + 1);
  double tail = 0;
  for (std::int64_t i = 0; i <= low; ++i)
    tail += std::exp(log_n - std::lgamma(static_cast<double>(i) + 1) - std::lgamma(static_cast<double>(n - i) + 1) + log_half);
  return std::min(1.0, 2 * tail);
}

PermutationTest permutation_test(std::span<const double> differences, std::uint64_t seed) {
  std::vector<double> moved;
  for (const double d : differences)
    if (d != 0) moved.push_back(d);
  if (moved.empty()) return {};
  double observed = 0, scale = 0;
  for (const double d : moved) observed += d, scale += std::abs(d);
  // Sums that are equal but for rounding count as equal.
  const double limit = std::abs(observed) - 1e-12 * scale;
  if (moved.size() <= kExact) {
    std::int64_t hits = 0;
    const std::uint32_t patterns = 1u << moved.size();
    for (std::uint32_t p = 0; p < patterns; ++p) {
      double sum = 0;
      for (std::size_t i = 0; i < moved.size(); ++i) sum += (p >> i) & 1u ? moved[i] : -moved[i];
      hits += std::abs(sum) >= limit;
    }
    return {static_cast<double>(hits) / static_cast<double>(patterns), true};
  }
  StreamRng rng(seed, kStream);
  std::int64_t hits = 0;
  for (int draw = 0; draw < kDraws; ++draw) {
    double sum = 0;
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < moved.size(); ++i, bits >>= 1) {
      if (i % 64 == 0) bits = rng.next();
      sum += bits & 1u ? moved[i] : -moved[i];
    }
    hits += std::abs(sum) >= limit;
  }
  return {static_cast<double>(1 + hits) / static_cast<double>(1 + kDraws), false};
}

double smallest_detectable(double standard_error_of_difference) { return kPower * standard_error_of_difference; }
double smallest_detectable_unpaired(double standard_error_of_one) { return kPower * std::sqrt(2.0) * standard_error_of_one; }

PairedComparison compare_paired(std::span<const double> a, std::span<const double> b, std::uint64_t seed) {
  if (a.size() != b.size()) throw DataError(message("a paired test needs the same items: ", a.size(), " on one side, ", b.size(), " on the other"));
  if (a.empty()) throw DataError("a paired test needs at least one item");
  PairedComparison out;
  std::vector<double> differences;
  bool binary = true;
  std::int64_t only_a = 0, only_b = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    differences.push_back(b[i] - a[i]);
    binary = binary && (a[i] == 0 || a[i] == 1) && (b[i] == 0 || b[i] == 1);
    only_a += a[i] > b[i];
    only_b += b[i] > a[i];
  }
  out.items = static_cast<std::int64_t>(a.size());
  out.mean_a = mean_of(a);
  out.mean_b = mean_of(b);
  out.difference = mean_of(differences);
  out.interval = bootstrap_mean(differences, seed);
  out.standard_error = standard_error(differences);
  out.correlation = correlation_of(a, b);
  out.permutation = permutation_test(differences, seed);
  out.only_a = binary ? only_a : -1;
  out.only_b = binary ? only_b : -1;
  out.mcnemar_p = binary ? mcnemar_exact(only_a, only_b) : kNaN;
  out.smallest_detectable = out.standard_error > 0 ? smallest_detectable(out.standard_error) : kNaN;
  return out;
}

}  // namespace r1
