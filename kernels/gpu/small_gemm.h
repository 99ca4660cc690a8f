// Products for the few rows of a decoding step, on the tensor cores without cuBLAS: y = x w^T with each output summed over k in
// ascending order in one accumulator, as cuBLAS's kernels for many rows do. Blas tries the bits against cuBLAS's before it uses one.
// Launched so that the first weights are asked for while the kernel before still runs (programmatic dependent launch). Conventions
// as in gpu.h.
#pragma once

#include "kernels/gpu/gpu.h"

namespace r1::gpu {

inline constexpr std::int64_t kSmallRows = 512;  // m at most

enum class SmallOut : std::uint8_t {
  kBf16,    // y bf16 [m][ldy] = x w^T + bias
  kF32,     // y float32 [m][ldy] = x w^T + c
  kSwiglu,  // y bf16 [m][ldy] = silu(gate) * up, n/2 wide; w is gate [n/2][k] above up [n/2][k]; bits of Blas::forward() and swiglu()
};

struct SmallGemm {
  const bf16* x = nullptr;     // [m][ldx], ldx a multiple of 8
  const bf16* w = nullptr;     // [n][ldw], ldw a multiple of 8
  std::int64_t ldx = 0, ldw = 0, m = 0, n = 0, k = 0;  // k a multiple of 64
  SmallOut out = SmallOut::kBf16;
  void* y = nullptr;
  std::int64_t ldy = 0;
  const bf16* bias = nullptr;  // [n] or null; kBf16
  const float* c = nullptr;    // [m][ldy] or null, may be y; kF32
};

// Shapes of tiles, 0 .. small_gemm_tiles() - 1. Any that fits gives the same bits.
int small_gemm_tiles();
bool small_gemm_fits(const SmallGemm& p, int tile);
void small_gemm(Stream s, const SmallGemm& p, int tile);

}  // namespace r1::gpu
