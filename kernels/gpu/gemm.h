// Matrix products on the GPU by cuBLASLt: bfloat16 in, float32 sums. Conventions as in gpu.h.
//
// forward() never splits the summed index over blocks of threads (no workspace, no split-K): a row of y then has the same bits for
// any number of rows (measured: docs/performance.md; kernels/gpu/gemm_test.cpp holds it). The gradients may split.
#pragma once

#include <cstdint>
#include <memory>

#include "kernels/gpu/gpu.h"

namespace r1::gpu {

enum class Out : std::uint8_t { kBf16, kF32 };

// Not thread-safe. Plans are made at first use of a shape and kept; making one is not allowed while a graph is captured on another
// stream in a mode that forbids it.
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
  // dx [m][ld_dx] = dy [m][n] w [n][k], bf16.
  void input_gradient(Stream s, Matrix dy, Matrix w, std::int64_t m, std::int64_t n, std::int64_t k, bf16* dx, std::int64_t ld_dx);
  // dw [n][k] += dy [m][n]^T x [m][k], float32.
  void weight_gradient(Stream s, Matrix dy, Matrix x, std::int64_t m, std::int64_t n, std::int64_t k, float* dw);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace r1::gpu
