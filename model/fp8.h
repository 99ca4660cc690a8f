// FP8 checkpoints (models.md section 6.4): e4m3 weights in blocks that have one float32 scale each.
#pragma once

#include <cstdint>
#include <span>

#include "core/weights.h"
#include "model/model_config.h"

namespace r1 {

// e4m3 without infinities: sign, 4 bits of exponent (bias 7), 3 of mantissa; 0x7F and 0xFF are NaN, the largest is 448.
float f8e4m3_to_float(std::uint8_t bits);

// weight [rows][columns] e4m3, scales [ceil(rows / block.rows)][ceil(columns / block.columns)] -> out bfloat16: each the product in float32,
// rounded once.
void dequantise_blocks(const std::uint8_t* weight, std::int64_t rows, std::int64_t columns, const float* scales, const BlockScales& block,
                       std::uint16_t* out);

}  // namespace r1
