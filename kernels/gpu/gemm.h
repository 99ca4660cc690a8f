// Matrix products on the GPU: bfloat16 in, float32 sums. By cuBLASLt, and for few rows by our own kernels (small_gemm.h) where they are
// quicker. Conventions as in gpu.h.
//
// A row of forward()'s y has the same bits for any number of rows: algorithms without split-K, each tried against the one for many
// rows on the weights at hand before it is used, and among those that agree the fastest. The gradients may split.
#pragma once

#include <cstdint>
#include <memory>

#include "kernels/gpu/gpu.h"

namespace r1::gpu {

enum class Out : std::uint8_t { kBf16, kF32 };

// Not thread-safe. The first use of a shape and a size of batch waits for the device and takes memory, so it must not be captured.
class Blas {
 public:
  Blas();
  ~Blas();
  Blas(const Blas&) = delete;
  Blas& operator=(const Blas&) = delete;

  struct Matrix { const bf16* data = nullptr; std::int64_t ld = 0; };
  // y [m][ldy] = x [m][k] w [n][k]^T (+ bias [n] bf16, only with Out::kBf16) (+ c [m][ldy] float32, which may be y itself, only with kF32).
  void forward(Stream s, Matrix x, Matrix w, std::int64_t m, std::int64_t n, std::int64_t k, void* y, std::int64_t ldy, Out out,
               const bf16* bias = nullptr, const float* c = nullptr);
  // y [m][f] = silu(gate) * up, gate and up being the halves of x [m][k] w [2f][k]^T rounded to bfloat16: the bits of forward() and
  // swiglu(). gate_up: scratch [m][2f], written or not.
  void forward_swiglu(Stream s, Matrix x, Matrix w, std::int64_t m, std::int64_t f, std::int64_t k, bf16* gate_up, bf16* y);
  // dx [m][ld_dx] = dy [m][n] w [n][k], bf16.
  void input_gradient(Stream s, Matrix dy, Matrix w, std::int64_t m, std::int64_t n, std::int64_t k, bf16* dx, std::int64_t ld_dx);
  // dw [n][k] += dy [m][n]^T x [m][k]; sums are float32. Into a bfloat16 dw the sum with what was there is rounded once a call.
  void weight_gradient(Stream s, Matrix dy, Matrix x, std::int64_t m, std::int64_t n, std::int64_t k, void* dw, Out out = Out::kF32);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace r1::gpu
