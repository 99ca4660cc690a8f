// Conversion of tensor elements between float32, float16 and bfloat16: round to nearest, ties to even; NaN stays NaN.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "core/weights.h"

namespace r1 {

inline float bf16_to_float(std::uint16_t bits) { return std::bit_cast<float>(std::uint32_t{bits} << 16); }

inline std::uint16_t float_to_bf16(float value) {
  const auto u = std::bit_cast<std::uint32_t>(value);
  if ((u & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<std::uint16_t>((u >> 16) | 0x40u);  // keep it a NaN, quiet
  return static_cast<std::uint16_t>((u + 0x7FFFu + ((u >> 16) & 1u)) >> 16);
}

float f16_to_float(std::uint16_t bits);
std::uint16_t float_to_f16(float value);  // beyond 65504 (after rounding) gives infinity, as IEEE 754 says

// `in` and `out` hold n elements, need no alignment, do not overlap (in == out only where from == to).
// Both types among kF32, kF16, kBF16; throws Error otherwise. Equal types copy the bits.
void convert_elements(DType from, const void* in, DType to, void* out, std::size_t n);
bool is_float_type(DType);  // the three that convert_elements() takes

}  // namespace r1
