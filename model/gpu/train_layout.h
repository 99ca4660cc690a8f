// Where a learner's pass keeps what: the layout of its region, and so the bytes that it takes. Arithmetic alone, in builds without CUDA too: `r1 plan`
// counts with it what a run will lay out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/gpu/attention.h"
#include "kernels/gpu/gpu.h"
#include "model/gpu/gpu_region.h"
#include "model/gpu/train_plan.h"
#include "model/model_config.h"

namespace r1 {

// Widths of the model, in elements.
struct GpuShape {
  explicit GpuShape(const ModelConfig& c);
  std::int64_t d, heads, kv_heads, hd, f, v, layers, q_width, kv_width, qkv_width;
  std::int64_t ld_v;      // of logits and their gradients: v rounded up to 8
  float scale, eps;
  bool qk_norm;
  std::int64_t page_elements() const { return kv_heads * 2 * gpu::kPage * hd; }  // of one layer
};

// What a layer writes, [n] rows of device memory. What is null is not kept.
struct GpuLayerBuffers {
  gpu::bf16* x = nullptr;        // [n][d] normed input of a product; both norms use it
  gpu::bf16* qkv = nullptr;      // [n][qkv_width] rotated
  gpu::bf16* qk_raw = nullptr;   // [n][q_width + kv_width], with qk_norm
  float* rstd_qk = nullptr;      // [n][heads + kv_heads], with qk_norm
  gpu::bf16* attn = nullptr;     // [n][q_width]
  float* lse = nullptr;          // [n][heads]
  gpu::bf16* gate_up = nullptr;  // [n][2f]; scratch, unless
  bool keeps_gate_up = false;
  gpu::bf16* act = nullptr;      // [n][f]
  float *rstd_in = nullptr, *rstd_mid = nullptr;  // [n]
};

enum class GpuHeadKind : std::uint8_t { kLogprobs, kDistributions, kScores };
struct GpuPass {
  GpuHeadKind head = GpuHeadKind::kLogprobs;
  bool keep = true;  // what a backward pass needs
  bool recompute = false;
};
inline constexpr std::int64_t kGpuHeadRows = 2048;  // of float32 logits held at a time

struct GpuRowGroups {  // RowGroups on the device
  const std::int32_t *target = nullptr, *first = nullptr, *order = nullptr;
  std::int64_t groups = 0;
};

// What a pass keeps where.
struct GpuPassBuffers {
  struct Kept { float *h_mid, *h_out; GpuLayerBuffers b; };  // of a layer
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
  GpuRowGroups by_predictor, by_token;
  // forward
  gpu::bf16* pages = nullptr;  // of one layer
  float* h0 = nullptr;         // [n][d] embedded
  std::vector<Kept> layers;    // one, used again, where nothing is kept
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

// keep_head: the gradient of the log-probabilities with respect to the logits stays. Throws GpuOutOfMemory.
GpuPassBuffers lay_out(GpuBump& bump, const GpuShape& shape, const TrainPlan& plan, GpuPass pass, bool keep_head);
// Bytes that a pass over `rows` rows with `predictors` log-probabilities, distributions or scores takes at most.
std::size_t bytes_of_pass(const GpuShape& shape, std::int64_t rows, std::int64_t predictors, GpuPass pass);

}  // namespace r1
