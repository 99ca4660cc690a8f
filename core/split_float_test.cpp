// A float32 in halves: what comes back, and that the upper half is the rounded number.
#include "core/split_float.h"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <vector>

namespace r1 {
namespace {

// The nearest bfloat16 by distance, ties to the even one: of the two around a finite number, worked out in double.
std::uint16_t nearest_bf16(std::uint32_t bits) {
  const auto below = static_cast<std::uint16_t>(bits >> 16);
  const auto value = [](std::uint32_t b) { return static_cast<double>(std::bit_cast<float>(b)); };
  const double x = value(bits), a = value(std::uint32_t{below} << 16);
  // Above the largest finite bfloat16 lies what would come next: 2^128.
  const double b = (below & 0x7FFFu) == 0x7F7Fu ? std::copysign(0x1p128, x) : value((std::uint32_t{below} + 1u) << 16);
  const double to_a = std::fabs(x - a), to_b = std::fabs(x - b);
  const bool up = to_b < to_a || (to_a == to_b && (below & 1u));
  return static_cast<std::uint16_t>(below + (up ? 1 : 0));
}

}  // namespace

TEST_CASE("a float32 comes back from its halves bit for bit, but for one kind of tie") {
  // Zero, subnormals, the smallest normal numbers, 1, odd and even, the largest: with every lower half.
  int nudged = 0, wrong = 0;
  for (const std::uint32_t upper : {0x0000u, 0x0001u, 0x007Fu, 0x0080u, 0x3F7Fu, 0x3F80u, 0x3F81u, 0x7F7Eu, 0x7F7Fu, 0x8000u, 0x8001u, 0xBF80u, 0xBF81u, 0xFF7Fu}) {
    for (std::uint32_t lower = 0; lower <= 0xFFFFu; ++lower) {
      const std::uint32_t bits = upper << 16 | lower;
      const SplitFloat f = split_float(bits);
      const std::uint32_t back = join_float(f);
      const bool tie_above_even = lower == 0x8000u && upper % 2 == 0;
      nudged += back != bits;
      wrong += back != (tie_above_even ? bits - 1 : bits) || f.high != nearest_bf16(bits) || split_float(back).high != f.high || back != splittable(bits);
    }
  }
  CHECK(wrong == 0);
  CHECK(nudged == 6);  // the even ones above
}

TEST_CASE("infinity and NaN stay what they are") {
  for (const std::uint32_t bits : {0x7F800000u, 0xFF800000u}) {
    CHECK(split_float(bits).high == bits >> 16);
    CHECK(join_float(split_float(bits)) == bits);
  }
  for (const std::uint32_t bits : {0x7F800001u, 0x7FC00000u, 0x7FFFFFFFu, 0xFF800001u, 0xFFFFFFFFu}) {
    CHECK(std::isnan(std::bit_cast<float>(join_float(split_float(bits)))));
    CHECK(std::isnan(std::bit_cast<float>(std::uint32_t{split_float(bits).high} << 16)));
  }
}

}  // namespace r1
