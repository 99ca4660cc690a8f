// Products for few rows, where reading the weights is everything: each weight once, straight into registers, the summed index split
// over warps and blocks of threads, with what follows the product done in the same launch. For decoding outside exact mode: sums run
// in another order than Blas::forward()'s. Deterministic all the same. Launched so that the first weights are asked for while the
// kernel before still runs (programmatic dependent launch). Conventions as in gpu.h.
#pragma once

#include "kernels/gpu/gpu.h"

namespace r1::gpu {

inline constexpr std::int64_t kSkinnyRows = 8;  // m at most

enum class SkinnyOut : std::uint8_t {
  kBias,    // y bf16 [m][n] = x w^T + bias (may be null)
  kAdd,     // y float32 [m][n] += x w^T
  kSwiglu,  // y bf16 [m][n / 2] = silu(gate) * up, w being gate [n/2][k] above up [n/2][k]
  kLogits,  // y float32 [m][ldy] = x w^T
};

struct SkinnyArgs {
  const bf16* x = nullptr;        // [m][k]; or null:
  const float* h = nullptr;       // [m][k], normed here: x = rms_norm(h, norm, eps)
  const bf16* norm = nullptr;
  float eps = 0.f;
  const bf16* w = nullptr;        // [n][k], k a multiple of 32, n of 16
  const bf16* bias = nullptr;
  void* y = nullptr;
  std::int64_t m = 0, n = 0, k = 0, ldy = 0;
  SkinnyOut out = SkinnyOut::kBias;
};
bool skinny_supports(std::int64_t n, std::int64_t k);
// Scratch for products of at most max_n columns: float32 partial results, and counters that are zero before and after each call.
std::size_t skinny_partial_bytes(std::int64_t max_n);
std::size_t skinny_counter_bytes(std::int64_t max_n);
void skinny_product(Stream s, const SkinnyArgs& args, float* partials, std::int32_t* counters);

}  // namespace r1::gpu
