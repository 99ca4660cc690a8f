// A layer's mixture of experts on the GPU: router, sorted tokens, the experts' products and their sum (kernels/gpu/experts.h), and the
// shared expert. The counterpart of transformer_moe.cpp.
#pragma once

#include <cstdint>

#include "kernels/gpu/experts.h"
#include "kernels/gpu/gemm.h"
#include "model/gpu/gpu_layout.h"
#include "model/gpu/gpu_region.h"
#include "model/gpu/gpu_weights.h"
#include "model/model_config.h"

namespace r1 {

class GpuExperts {
 public:
  // Of layer `layer`, the `number`-th with experts. Throws ConfigError for more experts than the kernels know, or widths that they do not.
  GpuExperts(const GpuWeights& weights, const ModelConfig& config, std::int64_t layer, std::int64_t number);

  // h_out = h_in + experts(x), x [n][d] normed; rows of h float32, the same or not. replay, record: [n][expert_choices()] or null, all
  // layers of a row side by side.
  void forward(gpu::Stream s, gpu::Blas& blas, std::int64_t n, const gpu::bf16* x, const float* h_in, float* h_out, const std::uint16_t* replay,
               std::uint16_t* record, const GpuExpertBuffers& b) const;

 private:
  std::int64_t d_, f_, shared_f_, choices_, at_;  // at_: of this layer in a row's choices
  gpu::RouteArgs route_;
  const gpu::bf16 *router_, *experts_, *shared_gate_up_ = nullptr, *shared_down_ = nullptr, *shared_gate_ = nullptr;
  std::int64_t stride_ = 0, down_ = 0;  // between experts, and from an expert's gate to its down projection
};

}  // namespace r1
