// Floats to the number formats of GGUF that are written: F32, F16, BF16, Q8_0, Q4_K. The other way: gguf_blocks.h.
#pragma once

#include <cstddef>

#include "model/gguf_blocks.h"

namespace r1 {

bool can_quantize(GgmlType type);
// n: a multiple of the format's block. Writes n / block_elements blocks; no alignment needed. Every value must be finite.
// F16 and BF16 round to nearest, ties to even; a value beyond F16's 65504 becomes infinity. Q8_0: scale = largest magnitude / 127, the
// bits of ggml's reference. Q4_K: scale and minimum of 32 values by weighted least squares over 21 grids, then 6 bits for each
// of them under two half scales for 256 values.
void quantize(GgmlType type, const float* in, std::size_t n, std::byte* out);

}  // namespace r1
