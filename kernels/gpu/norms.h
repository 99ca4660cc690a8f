// RMSNorm of parts of rows, and of what is added to the residual stream: where a family's norms are not Llama's. Conventions as in gpu.h.
#pragma once

#include "kernels/gpu/gpu.h"

namespace r1::gpu {

// y[i] = w * bf16(x[i] / rms(x[i])), rows of bfloat16 `ldx` and `ldy` apart, of width d, which is a multiple of 8. y may be x.
void rms_norm_part(Stream s, const bf16* x, std::int64_t ldx, std::int64_t n, std::int64_t d, const bf16* w, float eps, bf16* y, std::int64_t ldy);

// h_out[i] = h_in[i] + bf16(w * bf16(x[i] / rms(x[i]))), float32 rows of width d; h_out may be h_in.
void add_rms_norm(Stream s, const float* h_in, const float* x, std::int64_t n, std::int64_t d, const bf16* w, float eps, float* h_out);

}  // namespace r1::gpu
