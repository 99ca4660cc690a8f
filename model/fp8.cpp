#include "model/fp8.h"

#include <array>
#include <cmath>
#include <limits>

#include "model/element_convert.h"

namespace r1 {

float f8e4m3_to_float(std::uint8_t bits) {
  const int exponent = (bits >> 3) & 15, mantissa = bits & 7;
  if ((bits & 0x7F) == 0x7F) return std::numeric_limits<float>::quiet_NaN();
  const float size = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9) : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
  return (bits & 0x80) != 0 ? -size : size;
}

void dequantise_blocks(const std::uint8_t* weight, std::int64_t rows, std::int64_t columns, const float* scales, const BlockScales& block,
                       std::uint16_t* out) {
  std::array<float, 256> values{};
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = f8e4m3_to_float(static_cast<std::uint8_t>(i));
  const std::int64_t across = (columns + block.columns - 1) / block.columns;
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < columns; ++c)
      out[r * columns + c] = float_to_bf16(values[weight[r * columns + c]] * scales[r / block.rows * across + c / block.columns]);
}

}  // namespace r1
