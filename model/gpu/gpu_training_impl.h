// Private to gpu_training*.cpp: what a pass keeps where.
#pragma once

#include <cstdint>
#include <vector>

#include "model/gpu/gpu_training.h"

namespace r1 {

struct DeviceGroups {
  const std::int32_t *target = nullptr, *first = nullptr, *order = nullptr;
  std::int64_t groups = 0;
};

struct GpuTraining::Buffers {
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

struct GpuTraining::Pending {
  Pass pass;
  Buffers buffers;
  float temperature = 1.f;
  std::uint64_t epoch = 0;  // of the region, as the pass left it
};

}  // namespace r1
