// Widths of a model on the GPU, and what the learner's passes lay out where in a region. Host arithmetic: builds without CUDA plan a GPU's memory with it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/gpu/attention.h"
#include "kernels/gpu/experts.h"
#include "kernels/gpu/gpu.h"
#include "kernels/gpu/latent.h"
#include "model/gpu/gpu_region.h"
#include "model/gpu/train_plan.h"
#include "model/model_config.h"

namespace r1 {

// Scratch of GpuExperts::forward(), nothing of which is kept. Rows go through it kRows at a time, which changes no bit.
struct GpuExpertBuffers {
  static constexpr std::int64_t kRows = 4096;
  float* logits = nullptr;           // [rows][experts]
  std::int32_t* chosen = nullptr;    // [rows][chosen]
  float* weights = nullptr;          // [rows][chosen]
  std::int32_t *sorted = nullptr, *tile_count = nullptr;
  gpu::ExpertTile* tiles = nullptr;
  gpu::bf16* act = nullptr;          // [rows * chosen][f]
  float* out = nullptr;              // [rows * chosen][d]
  gpu::bf16 *shared_gate_up = nullptr, *shared_act = nullptr;  // [rows][2 f'], [rows][f']
  float *shared = nullptr, *shared_weight = nullptr;           // [rows][d], [rows]; with a gate
  // For passes of `rows` rows; nothing for a model without experts.
  void take(GpuBump& bump, const ModelConfig& config, std::int64_t rows);
};

// How many experts a position meets, all layers together: Transformer::expert_choices().
std::int64_t expert_choices(const ModelConfig& config);

// Scratch of a pass, nothing of which is kept. [n] rows.
struct GpuLatentBuffers {
  gpu::bf16* down = nullptr;      // [n][down_width]: q or its compression, the raw latent, the raw rotary key
  gpu::bf16* q_normed = nullptr;  // [n][q_lora_rank]; only with query compression, as the next
  gpu::bf16* q = nullptr;         // [n][heads * head_dim]
  gpu::bf16* context = nullptr;   // [n][heads][kLatentRank]
};

GpuLatentBuffers latent_take(GpuBump& bump, const ModelConfig& config, std::int64_t n);

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

enum class GpuHeadKind : std::uint8_t { kLogprobs, kDistributions, kScores };
struct GpuPass {
  GpuHeadKind head = GpuHeadKind::kLogprobs;
  bool keep = true;  // what a backward pass needs
  bool recompute = false;
};
inline constexpr std::int64_t kGpuHeadRows = 2048;  // of float32 logits held at a time

struct GpuKeptLayer { float *h_mid, *h_out; GpuLayerBuffers b; };

struct DeviceGroups {
  const std::int32_t *target = nullptr, *first = nullptr, *order = nullptr;
  std::int64_t groups = 0;
};

struct GpuPassBuffers {
  std::int64_t rows = 0, predictors = 0, head_rows = 0;
  // index arrays
  std::byte* blob = nullptr;
  std::size_t blob_bytes = 0;
  const std::int32_t *tokens = nullptr, *positions = nullptr, *predictor_rows = nullptr, *targets = nullptr, *kv_src = nullptr,
                     *kv_dst = nullptr, *tables = nullptr;
  std::int64_t kv_rows = 0;
  const gpu::PrefillItem* prefill = nullptr;
  std::int64_t prefill_items = 0;
  gpu::AttentionBackwardArgs attention;  // index arrays and scratch of the backward pass
  DeviceGroups by_predictor, by_token;
  // forward
  gpu::bf16* pages = nullptr;  // of one layer
  float* h0 = nullptr;         // [n][d] embedded
  std::uint16_t* replay = nullptr;  // [n][choices]
  std::vector<GpuKeptLayer> layers;    // one, used again, where nothing is kept
  gpu::bf16* x_head = nullptr;  // [m][d]
  float *rstd_head = nullptr, *logits = nullptr, *logprobs = nullptr, *entropies = nullptr, *lse = nullptr, *tops = nullptr;
  float* scores = nullptr;     // [m]
  gpu::bf16* head_gradient = nullptr;  // [m][ld_v] of ln p with respect to the logits, or null: made again
  // backward; c1 [m], c2 [m]: slopes of what the head gives
  float *d_h = nullptr, *d_gathered = nullptr, *c1 = nullptr, *c2 = nullptr;
  gpu::bf16 *d_h16 = nullptr, *d_act = nullptr, *d_gate_up = nullptr, *d_x = nullptr, *d_attn = nullptr, *d_qkv = nullptr,
            *d_logits = nullptr, *x_scaled = nullptr;
  void* sums = nullptr;  // scratch of sums over rows
  float* vector_sums = nullptr;  // of one layer's norms and biases
};

// What a pass over `plan` keeps where. `keep_head`: with the gradient of every log-probability with respect to the logits.
GpuPassBuffers lay_out_pass(GpuBump& bump, const ModelConfig& config, const TrainPlan& plan, GpuPass pass, bool keep_head);
// Bytes that a pass over `rows` rows with `predictors` log-probabilities, distributions or scores takes at most.
std::size_t gpu_pass_bytes(const ModelConfig& config, std::int64_t rows, std::int64_t predictors, GpuPass pass);

}  // namespace r1
