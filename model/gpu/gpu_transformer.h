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
#include "model/gpu/gpu_experts.h"
#include "model/gpu/gpu_latent.h"
#include "model/gpu/gpu_weights.h"
#include "model/model_config.h"

namespace r1 {

// Widths of the model, in elements.
struct GpuShape {
  explicit GpuShape(const ModelConfig& c);
  std::int64_t d, heads, kv_heads, hd, f, v, layers, q_width, kv_width, qkv_width;
  std::int64_t attn_width;  // columns that o_proj reads
  std::int64_t rope_half;   // cosines a position
  std::int64_t context;     // positions that are served: with a window no more than that, where it hides nothing
  bool latent;              // a page holds latents; qkv is the scratch of GpuLatentAttention
  std::int64_t choices;     // experts that a position meets, all layers together; 0 without experts
  std::int64_t ld_v;      // of logits and their gradients: v rounded up to 8
  float scale, eps;
  bool qk_norm;           // of each head
  bool pre_norms, post_norms;
  bool learns;            // the learner knows the whole block
  std::int64_t page_elements() const { return latent ? gpu::kPage * gpu::kLatentWidth : kv_heads * 2 * gpu::kPage * hd; }  // of one layer
  std::int64_t kv_bytes_per_token() const { return page_elements() * 2 * layers / gpu::kPage; }
  // Scratch of decoding: see attention_decode() and latent_decode().
  std::size_t partial_bytes(std::int64_t slots) const {
    return latent ? gpu::latent_partial_bytes(slots, heads) : gpu::decode_partial_bytes(slots, heads, kv_heads, hd);
  }
  std::int64_t counters_per_row() const { return latent ? (heads + 15) / 16 : kv_heads * ((heads / kv_heads + 15) / 16); }
  gpu::DecodeGrid decode_grid(std::int64_t rows) const {
    return latent ? gpu::DecodeGrid{gpu::latent_decode_blocks(), false} : gpu::decode_grid(rows, counters_per_row(), hd);
  }
};

// What a layer writes, [n] rows of device memory. What is null is not kept.
struct GpuLayerBuffers {
  gpu::bf16* x = nullptr;        // [n][d] normed input of a product; both norms use it
  gpu::bf16* qkv = nullptr;      // [n][qkv_width] rotated
  gpu::bf16* qk_raw = nullptr;   // [n][q_width + kv_width], with qk_norm
  float* rstd_qk = nullptr;      // [n][heads + kv_heads], with qk_norm
  gpu::bf16* attn = nullptr;     // [n][attn_width]
  GpuLatentBuffers latent;       // with latent attention
  float* added = nullptr;        // [n][d] before the norm behind it, with post_norms
  float* lse = nullptr;          // [n][heads]
  gpu::bf16* gate_up = nullptr;  // [n][2f]; scratch, unless
  bool keeps_gate_up = false;
  gpu::bf16* act = nullptr;      // [n][f]
  float *rstd_in = nullptr, *rstd_mid = nullptr;  // [n]
  GpuExpertBuffers experts;      // of layers with experts, instead of gate_up and act
  const std::uint16_t* replay = nullptr;  // [n][choices], or null: the router chooses
  std::uint16_t* record = nullptr;        // [n][choices], or null
};

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
