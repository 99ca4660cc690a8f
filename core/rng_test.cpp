#include "core/rng.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include <doctest/doctest.h>

namespace r1 {
namespace {

// kat_vectors of Random123 1.14, lines "philox4x32 10".
TEST_CASE("philox4x32-10 gives the known answers of its authors") {
  CHECK(philox4x32({0, 0, 0, 0}, {0, 0}) == PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}) == PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        PhiloxBlock{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

// A change of these numbers breaks the resumption of every run made so far.
TEST_CASE("draws are pinned") {
  static_assert(draw_bits({1, 2, 3, 4}, 5) == draw_bits({1, 2, 3, 4}, 5));
  CHECK(draw_bits({0, 0, 0, 0}, 0) == 10218941953553661814u);
  CHECK(draw_bits({42, 7, 1000000007, 15}, 1023) == 11743998368164018008u);
  StreamRng rng(42, 7);
  CHECK(rng.next() == 7446834913142057921u);
  CHECK(rng.next() == 3219135480562151740u);
}

TEST_CASE("to_unit stays inside the open interval") {
  CHECK(to_unit(0) > 0.0);
  CHECK(to_unit(~std::uint64_t{0}) < 1.0);
}

// Chi-square over 64 equal bins; 63 degrees of freedom, 99.9 % quantile 103.4. The draws are fixed, so this cannot flake.
double chi_square(const std::vector<double>& draws) {
  std::vector<double> bins(64);
  for (const double u : draws) ++bins[static_cast<std::size_t>(u * 64)];
  const double mean = static_cast<double>(draws.size()) / 64;
  double sum = 0;
  for (const double count : bins) sum += (count - mean) * (count - mean) / mean;
  return sum;
}

double correlation(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - 0.5) * (b[i] - 0.5);
  return sum / static_cast<double>(a.size()) * 12;
}

TEST_CASE("draws are uniform along every part of the key") {
  constexpr int kDraws = 64000;
  for (int part = 0; part < 5; ++part) {
    std::vector<double> draws;
    for (int i = 0; i < kDraws; ++i) {
      DrawKey key{3, 1, 4, 1};
      std::uint32_t position = 5;
      const auto n = static_cast<std::uint32_t>(i);
      if (part == 0) key.seed = n;
      if (part == 1) key.step = n;
      if (part == 2) key.prompt = n;
      if (part == 3) key.sample = n;
      if (part == 4) position = n;
      draws.push_back(draw_uniform(key, position));
    }
    CAPTURE(part);
    CHECK(chi_square(draws) < 103.4);
    // Neighbouring keys are independent: 4 standard errors.
    CHECK(std::abs(correlation({draws.begin(), draws.end() - 1}, {draws.begin() + 1, draws.end()})) < 4 / std::sqrt(kDraws));
  }
}

TEST_CASE("different keys give different draws, also where parts swap values") {
  std::set<std::uint64_t> seen;
  int keys = 0;
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    for (std::uint64_t step = 0; step < 6; ++step) {
      for (std::uint64_t prompt = 0; prompt < 6; ++prompt) {
        for (std::uint32_t sample = 0; sample < 6; ++sample) {
          for (std::uint32_t position = 0; position < 6; ++position, ++keys) seen.insert(draw_bits({seed, step, prompt, sample}, position));
        }
      }
    }
  }
  CHECK(static_cast<int>(seen.size()) == keys);
  CHECK(draw_bits({0, 0, std::uint64_t{1} << 32, 0}, 0) != draw_bits({0, 0, 1, 0}, 0));
}

TEST_CASE("StreamRng::below is unbiased and in range") {
  StreamRng rng(9, 0);
  CHECK(rng.below(1) == 0);
  std::vector<int> counts(7);
  for (int i = 0; i < 70000; ++i) ++counts[rng.below(7)];
  for (const int count : counts) CHECK(std::abs(count - 10000) < 400);  // 4.3 standard deviations
  // Two thirds of the 64-bit range: a plain modulo would give the lower half of the results twice as often.
  const std::uint64_t n = (std::uint64_t{1} << 63) + (std::uint64_t{1} << 62);
  int low = 0;
  for (int i = 0; i < 9000; ++i) low += rng.below(n) < n / 3;
  CHECK(std::abs(low - 3000) < 180);
}

}  // namespace
}  // namespace r1
