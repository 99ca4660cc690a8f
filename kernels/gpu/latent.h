// Multi-head latent attention on the GPU in its absorbed form (docs/decisions/0013): queries have met the keys' half of kv_b, so that all
// heads attend to the cached latents themselves, and their context meets the values' half. Conventions and promise as in gpu.h; chunks of
// positions and their merges as in attention.h.
#pragma once

#include "kernels/gpu/attention.h"

namespace r1::gpu {

// Of every DeepSeek with latent attention: kv_lora_rank and qk_rope_head_dim. A position's row in the cache is the latent, then the key.
inline constexpr std::int64_t kLatentRank = 512, kLatentRope = 64, kLatentWidth = kLatentRank + kLatentRope;

// rows [n][(heads + 1) * kLatentWidth]: of each head the absorbed query, then the position's row of the cache. These are their rotated
// parts: of q's heads [n][ld_q], head_dim apart, behind the first `nope` elements; of the key [n][ld_key]. interleaved: pairs lie
// at (2i, 2i + 1) there; they come out by halves. cos, sin [positions][kLatentRope / 2].
struct LatentRopeArgs {
  const bf16 *q = nullptr, *key = nullptr;
  std::int64_t ld_q = 0, ld_key = 0, heads = 0, head_dim = 0, nope = 0;
  bool interleaved = true;
  const std::int32_t* positions = nullptr;
  const float *cos = nullptr, *sin = nullptr;
  bf16* rows = nullptr;
};
void latent_rope(Stream s, const LatentRopeArgs& args, std::int64_t n);

// y[i][h] = x[i][h] w[h]^T for every head: w[h] [n][ldw] over k, or, transposed, w[h] [k][ldw] over n. n and k are multiples of 64. Sums in
// ascending k.
struct HeadProduct {
  const bf16 *x = nullptr, *w = nullptr;
  bf16* y = nullptr;
  std::int64_t ldx = 0, x_pitch = 0, ldw = 0, w_pitch = 0, ldy = 0, y_pitch = 0;  // elements between rows, between heads
  std::int64_t heads = 0, n = 0, k = 0;
  bool transposed = false;
};
void head_product(Stream s, const HeadProduct& p, std::int64_t m);

// Pages of kPage rows of the cache, kLatentWidth wide, pieces in the order of kv_layout.h.
struct LatentPages {
  bf16* base = nullptr;          // of one layer
  std::int64_t page_stride = 0;  // elements: at least kPage * kLatentWidth
};
// For i < n: row src[i] (null = i) of rows [..][ld] goes to slot dst[i] = page * kPage + offset; below 0: nowhere.
void write_latent(Stream s, const LatentPages& pages, const bf16* rows, std::int64_t ld, const std::int32_t* src, const std::int32_t* dst, std::int64_t n);

struct LatentAttentionArgs {
  LatentPages pages;
  const bf16* q = nullptr;   // [rows][ld], heads * kLatentWidth wide
  std::int64_t ld = 0, heads = 0;
  float scale = 0.f;
  bf16* out = nullptr;       // [rows][heads * kLatentRank]
};
// As attention_decode() and attention_prefill(); counters: [rows][ceil(heads / 16)].
std::size_t latent_partial_bytes(std::int64_t slots, std::int64_t heads);
void latent_decode(Stream s, const LatentAttentionArgs& args, const DecodeItem* items, const std::int32_t* count, const std::int32_t* tables,
                   float* partials, std::int32_t* counters, int blocks);
int latent_decode_blocks();
void latent_prefill(Stream s, const LatentAttentionArgs& args, const PrefillItem* items, std::int64_t n, const std::int32_t* tables);

}  // namespace r1::gpu
