// Where the backward pass adds: a gradient laid out like the weight arena, float32 or bfloat16. A view.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/gpu/device.h"
#include "kernels/gpu/gemm.h"
#include "kernels/gpu/packed_adamw.h"

namespace r1 {

class GpuGradient {
 public:
  GpuGradient(float* arena) : f32_(arena) {}
  GpuGradient(gpu::bf16* arena) : bf16_(arena) {}

  bool is_bf16() const { return bf16_ != nullptr; }
  gpu::Out out() const { return is_bf16() ? gpu::Out::kBf16 : gpu::Out::kF32; }
  void* at(std::int64_t offset) const { return is_bf16() ? static_cast<void*>(bf16_ + offset) : f32_ + offset; }
  float* f32() const { return f32_; }
  gpu::bf16* bf16() const { return bf16_; }

 private:
  float* f32_ = nullptr;
  gpu::bf16* bf16_ = nullptr;
};

// Vectors of the gradient (norms, biases), which sums over rows add to in float32. For a bfloat16 arena these sums are made in scratch,
// and finish() adds them to the arena, rounded once. Lengths are multiples of 8.
class VectorSums {
 public:
  VectorSums(gpu::Stream stream, GpuGradient to, float* scratch) : stream_(stream), to_(to), scratch_(scratch) {}
  float* take(std::int64_t offset, std::int64_t n) {
    if (!to_.is_bf16()) return to_.f32() + offset;
    float* sums = scratch_ + used_;
    gpu::fill_bytes(stream_, sums, 0, static_cast<std::size_t>(n) * sizeof(float));
    pieces_.push_back({offset, n, sums});
    used_ += n;
    return sums;
  }
  void finish() {
    for (const Piece& p : pieces_) gpu::add_rounded(stream_, to_.bf16() + p.offset, p.sums, p.n);
    pieces_.clear();
    used_ = 0;
  }

 private:
  struct Piece { std::int64_t offset, n; const float* sums; };
  gpu::Stream stream_;
  GpuGradient to_;
  float* scratch_;
  std::int64_t used_ = 0;
  std::vector<Piece> pieces_;
};

}  // namespace r1
