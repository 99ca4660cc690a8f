// A float32 in two halves of 16 bits, of which the upper is the bfloat16 that it rounds to: a live weight and what its master has
// beyond it. On host and GPU.
#pragma once

#include <cstdint>

namespace r1 {

struct SplitFloat {
  std::uint16_t high = 0;  // the bfloat16, rounded to nearest, ties to even
  std::int16_t rest = 0;   // bits of the float32 minus bits of the bfloat16, in units of the float32's last place
};

// A float32 halfway above an even bfloat16 would have the rest 32768, and -32768 is its neighbour's halfway below: of 65,537 rests, 16 bits
// hold one too few. So that one moves by a unit of its last place towards the bfloat16, which it still rounds to: 2^-23 of its
// value or less, once in 131,072 numbers. A NaN becomes one without payload. All other bits come back as they went in.
constexpr std::uint32_t splittable(std::uint32_t bits) {
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return 0x7FFF0000u;
  return (bits & 0x1FFFFu) == 0x8000u ? bits - 1 : bits;
}
constexpr SplitFloat split_float(std::uint32_t float_bits) {
  const std::uint32_t bits = splittable(float_bits);
  const std::uint32_t high = bits == 0x7FFF0000u ? 0x7FFFu : (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
  return {static_cast<std::uint16_t>(high), static_cast<std::int16_t>(static_cast<std::int32_t>(bits - (high << 16)))};
}
constexpr std::uint32_t join_float(SplitFloat f) {
  return (std::uint32_t{f.high} << 16) + static_cast<std::uint32_t>(std::int32_t{f.rest});
}

}  // namespace r1
