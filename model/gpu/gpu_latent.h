// Latent attention of one layer on the GPU, in the absorbed form that transformer_latent.cpp has: the counterpart of its forward pass.
#pragma once

#include <cstdint>

#include "kernels/gpu/gemm.h"
#include "kernels/gpu/latent.h"
#include "model/gpu/gpu_layout.h"
#include "model/gpu/gpu_weights.h"
#include "model/model_config.h"

namespace r1 {

// Where the rows of a pass find keys and values. The first `decode_rows` rows have their chunks side by side, the others are prefill.
struct GpuAttentionWork {
  gpu::bf16* pages = nullptr;                // of the layer
  const std::int32_t *kv_src = nullptr, *kv_dst = nullptr;  // rows and their slots, as write_kv(); kv_src null = the row itself
  std::int64_t kv_rows = 0;
  const std::int32_t* tables = nullptr;
  const gpu::DecodeItem* decode = nullptr;
  const std::int32_t* decode_count = nullptr;
  std::int64_t decode_rows = 0;
  float* partials = nullptr;
  std::int32_t* counters = nullptr;
  gpu::DecodeGrid grid;
  const gpu::PrefillItem* prefill = nullptr;
  std::int64_t prefill_items = 0;
};

class GpuLatentAttention {
 public:
  // Throws ConfigError for widths that the kernels do not know.
  GpuLatentAttention(const GpuWeights& weights, const ModelConfig& config, std::int64_t layer);

  // x [n][d] normed -> attn [n][heads * v_head_dim], what o_proj reads. rows: scratch [n][(heads + 1) * kLatentWidth].
  void forward(gpu::Stream s, gpu::Blas& blas, std::int64_t n, const gpu::bf16* x, const std::int32_t* positions, const float* cos, const float* sin,
               const GpuAttentionWork& work, const GpuLatentBuffers& b, gpu::bf16* rows, gpu::bf16* attn) const;

 private:
  LatentAttention shape_;
  std::int64_t d_, heads_, head_dim_;
  float scale_;
  const gpu::bf16 *down_, *q_norm_ = nullptr, *q_b_ = nullptr, *kv_norm_, *kv_b_;
};

}  // namespace r1
