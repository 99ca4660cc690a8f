// A scalar for a row: value and reward models. Conventions as in gpu.h.
#pragma once

#include "kernels/gpu/gpu.h"

namespace r1::gpu {

// out[i] = w . x[i] + bias, x [n][D] bf16, w [D] float32; the sum in float64.
void scalar_head(Stream s, const bf16* x, const float* w, float bias, std::int64_t n, std::int64_t d, float* out);
// d_x[i][j] = bf16(c[i] w[j]); adds the sum of c[i] x[i] over the rows to dw [D] float32. scratch: row_sum_scratch_bytes(D).
void scalar_head_backward(Stream s, const bf16* x, const float* w, const float* c, std::int64_t n, std::int64_t d, bf16* d_x, float* dw,
                          void* scratch);

}  // namespace r1::gpu
