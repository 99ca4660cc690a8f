// The decoder on the GPU (Llama, Qwen2, Qwen3, mixtures of experts, latent attention), in halves: what the rollout's step and the learner's pass
// share, so that a token's log-probability has the same bits in both. Residual stream float32, products bfloat16.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "kernels/gpu/attention.h"
#include "kernels/gpu/device.h"
#include "kernels/gpu/gemm.h"
#include "model/gpu/gpu_layout.h"
#include "model/gpu/gpu_experts.h"
#include "model/gpu/gpu_latent.h"
#include "model/gpu/gpu_weights.h"
#include "model/model_config.h"

namespace r1 {

// One stream, one set of weights. Not thread-safe.
class GpuTransformer {
 public:
  // Throws ConfigError for a shape that the kernels do not know (head_dim, biases on o and the MLP), DeviceError without a GPU.
  explicit GpuTransformer(ModelConfig config);

  const ModelConfig& config() const { return config_; }
  const GpuShape& shape() const { return shape_; }
  GpuWeights& weights() { return weights_; }
  const GpuWeights& weights() const { return weights_; }
  gpu::Stream stream() const { return stream_; }
  void synchronize() const { stream_.synchronize(); }
  // Ids >= limit are never sampled and take no part in the softmax. 0 = vocab_size.
  void set_vocab_limit(std::int64_t limit);
  std::int64_t vocab_limit() const { return vocab_limit_; }
  // Before positions below `count` are used; the table does not move.
  void ensure_rope(std::int64_t count);
  const float* rope_cos() const { return rope_cos_.as<float>(); }
  const float* rope_sin() const { return rope_sin_.as<float>(); }

  struct Layer {
    const gpu::bf16 *input_norm, *post_norm;    // before attention and MLP; null without pre_norms
    const gpu::bf16 *attn_out_norm, *mlp_out_norm;  // behind them, with post_norms
    const gpu::bf16 *qkv, *qkv_bias, *q_norm, *k_norm, *o, *gate_up, *down;
    // The same places in an array laid out like the arena (gradients); -1 = none.
    std::int64_t at_input_norm, at_post_norm, at_qkv, at_qkv_bias, at_q_norm, at_k_norm, at_o, at_gate_up, at_down;
    std::optional<GpuExperts> experts;  // in place of gate_up and down
    std::optional<GpuLatentAttention> latent;  // in place of qkv and its norms
  };
  const Layer& layer(std::int64_t l) const { return layers_[static_cast<std::size_t>(l)]; }
  const gpu::bf16 *embed() const { return embed_; }
  const gpu::bf16 *final_norm() const { return final_norm_; }
  const gpu::bf16 *head() const { return head_; }
  std::int64_t at_embed() const { return at_embed_; }
  std::int64_t at_final_norm() const { return at_final_norm_; }
  std::int64_t at_head() const { return at_head_; }
  gpu::Blas& blas() { return blas_; }
  gpu::QkArgs qk_args(const Layer& layer, const std::int32_t* positions) const;

  // h_in -> b.attn; then b.attn, h_in -> h_mid -> h_out, which may all be the same rows. float32 [n][d].
  void attention(std::int64_t l, std::int64_t n, const float* h_in, const std::int32_t* positions, const GpuAttentionWork& work, const GpuLayerBuffers& b);
  void after_attention(std::int64_t l, std::int64_t n, const float* h_in, float* h_mid, float* h_out, const GpuLayerBuffers& b);
  // logits [n][ld_v] of rows of x [n][d], normed.
  void logits(const gpu::bf16* x, std::int64_t n, float* out);

 private:
  ModelConfig config_;
  GpuShape shape_;
  gpu::OwnedStream stream_;
  GpuWeights weights_;
  gpu::Blas blas_;
  std::int64_t vocab_limit_;
  std::vector<Layer> layers_;
  const gpu::bf16 *embed_, *final_norm_, *head_;
  std::int64_t at_embed_, at_final_norm_, at_head_;
  gpu::DeviceMemory rope_cos_, rope_sin_;
  std::vector<float> inv_freq_;
  std::int64_t rope_positions_ = 0;
};

}  // namespace r1
