// Where in its rounding cell a float32 master starts (rl/parameter_arena.h, MasterStart::kSpread). On host and GPU.
#pragma once

#include <cstdint>

#include "core/rng.h"

namespace r1 {

// The bits of a bfloat16 value as float32 -> bits of a float32 that rounds to it, uniform over those that do. The bits below a
// bfloat16's lowest are a float's lower half: an offset in (-half, half) never leaves the cell, whatever the exponent.
constexpr std::uint32_t spread_in_cell(std::uint32_t bits, std::uint64_t index) {
  constexpr std::uint64_t kSeed = 0x7370726561640001ull;
  const std::uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude == 0 || magnitude >= 0x7F800000u) return bits;
  const auto offset = static_cast<std::int32_t>(mix64(kSeed + index * 0x9E3779B97F4A7C15ull) % 0xFFFF) - 0x7FFF;
  return bits + static_cast<std::uint32_t>(offset);
}

}  // namespace r1
