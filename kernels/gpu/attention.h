// Attention on the GPU: over KV pages for decoding, prefill and the training forward pass, one order of operations for all three; and
// its backward pass over packed rows. Conventions as in gpu.h.
//
// The forward pass of a row: keys in blocks of kPage positions, in ascending order, online softmax within chunks of kChunkBlocks
// blocks; chunks begin anew and are merged in order. So one row's bits do not depend on who computes its chunks side by side.
#pragma once

#include <span>
#include <vector>

#include "kernels/gpu/gpu.h"

namespace r1::gpu {

inline constexpr int kChunkBlocks = 4;
inline constexpr int kChunk = kChunkBlocks * kPage;  // positions

bool attention_supports(std::int64_t head_dim);  // 64, 96, 128, 256

struct AttentionArgs {
  KvPages pages;
  const bf16* q = nullptr;       // [rows][ld], heads * head_dim wide
  std::int64_t ld = 0, heads = 0;
  float scale = 0.f;
  bf16* out = nullptr;           // [rows][out_ld]
  std::int64_t out_ld = 0;
  float* lse = nullptr;          // [rows][heads] nats of the scaled scores, or null
  // Decoding alone: with cos, sin [positions][head_dim / 2], the kernel rotates q as qk_norm_rope() does (no norm), and rotates
  // and stores the row's own key, with its value, from q [rows][ld] behind the heads: then neither qk_norm_rope() nor
  // write_kv() runs before it. q itself is left as it was.
  const float *cos = nullptr, *sin = nullptr;
};

// Decoding: one row a sequence. An item is a whole row, its chunks one after another, or one chunk of it; then there is an item for each
// of its chunks, and their slots are consecutive. The bits are the same.
struct DecodeItem {
  std::int32_t row = 0, position = 0;  // the row sees positions 0..position
  std::int32_t chunk = 0, count = 0;   // chunks [chunk, chunk + count)
  std::int32_t slot = 0;               // of the row's chunk 0, in partial results, where an item is one of several chunks
  std::int32_t table = 0;              // where the row's page numbers begin in `tables`
};
// The items of rows at `positions`, row i's pages from tables[i] on; per_row = kv_heads * ceil(group / 16). A row stays whole where that
// does not make one multiprocessor of the device work longer than the others. Returns the slots that are used.
std::int32_t decode_items(std::span<const std::int32_t> positions, std::span<const std::int32_t> tables, std::int64_t per_row, int multiprocessors,
                          std::vector<DecodeItem>& items);
// How decoding of `rows` rows is launched; any gives the same bits.
struct DecodeGrid {
  int blocks = 1;
  bool few = false;  // rows: each in as little time as can be, rather than all
};
DecodeGrid decode_grid(std::int64_t rows, std::int64_t per_row, std::int64_t head_dim);
// items, tables, count: device memory. partials: decode_partial_bytes(slots); counters: [rows][per_row] int32, zero before the first call
// and after each.
std::size_t decode_partial_bytes(std::int64_t slots, std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim);
void attention_decode(Stream s, const AttentionArgs& args, const DecodeItem* items, const std::int32_t* count,
                      const std::int32_t* tables, float* partials, std::int32_t* counters, const DecodeGrid& grid);

// Prefill and training: an item is up to 64 consecutive rows of one sequence, at consecutive positions.
struct PrefillItem {
  std::int32_t row = 0, count = 0, position = 0, table = 0;
};
void attention_prefill(Stream s, const AttentionArgs& args, const PrefillItem* items, std::int64_t n, const std::int32_t* tables);

// ---- backward ---------------------------------------------------------------------------------------------------------
// Sequences as cpu::AttentionSequence; own rows [begin, end), prefix rows [prefix_begin, prefix_end) of an earlier sequence
// (-1: none). Device array.
struct TrainSequence {
  std::int32_t begin = 0, end = 0, prefix_begin = -1, prefix_end = -1;
};
struct BackwardKeyItem {        // a block of kPage key positions of a sequence
  std::int32_t sequence = 0, block = 0;
  std::int32_t prefix_slot = -1;  // row of the partial sums that holds its prefix position 0; -1: it has no prefix
  std::int32_t own_slot = -1;     // the same for its own rows where others continue it; -1: they are stored at once
};
struct BackwardQueryItem {      // up to 64 own rows of a sequence
  std::int32_t sequence = 0, row = 0;  // row within [0, end - begin)
};
struct PrefixSum {              // gradients of a row that others continue: `terms` partial rows, `stride` apart
  std::int32_t row = 0, slot = 0, stride = 0, terms = 0;
};
struct AttentionBackwardArgs {
  const bf16* qkv = nullptr;     // [n][ld]: q | k | v
  const bf16* out = nullptr;     // [n][heads * head_dim]
  const bf16* d_out = nullptr;   // the same shape
  const float* lse = nullptr;    // [n][heads]
  bf16* d_qkv = nullptr;         // [n][ld], stored
  std::int64_t ld = 0, heads = 0, kv_heads = 0, head_dim = 0, n = 0;
  float scale = 0.f;
  const TrainSequence* sequences = nullptr;
  const BackwardKeyItem* key_items = nullptr;
  std::int64_t num_key_items = 0;
  const BackwardQueryItem* query_items = nullptr;
  std::int64_t num_query_items = 0;
  const PrefixSum* prefix_sums = nullptr;
  std::int64_t num_prefix_sums = 0;
  float* delta = nullptr;        // scratch [n][heads]
  float* partials = nullptr;     // scratch [slots][2 * kv_heads * head_dim]: dk, dv
};
void attention_backward(Stream s, const AttentionBackwardArgs& args);

}  // namespace r1::gpu
