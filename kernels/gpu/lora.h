// LoRA pairs beside chosen matrices of a weight arena: merging, and the pairs' gradient from that of the merged matrices. One launch is
// about all pairs. Conventions as in gpu.h; every sum has one order, whatever the device is doing.
#pragma once

#include "kernels/gpu/gpu.h"

namespace r1::gpu {

// One pair of a matrix [out][in]: where it begins in the weight arena, in the copy of the base matrices, A [rank][in] and B [out][rank] in
// the values, its inputs in a mask; and the pieces of work of the three kernels that come before its own.
struct LoraSlot {
  std::int64_t weight = 0, base = 0, out = 0, in = 0, a = 0, b = 0, column = 0;
  std::int64_t merge_tiles = 0, b_tiles = 0, a_tiles = 0;  // set by lay_out_tiles()
};
struct LoraWork {
  const LoraSlot* slots = nullptr;  // on the device, as lay_out_tiles() filled them
  std::int64_t count = 0, rank = 0;
  float scale = 1.f;
  std::int64_t merge_tiles = 0, b_tiles = 0, a_tiles = 0;  // of all
};
// Sets the tiles in `slots` (on the host) and in the returned work, whose `slots` is left null.
LoraWork lay_out_tiles(LoraSlot* slots, std::int64_t count, std::int64_t rank, float scale);

// arena[weight + i] = bf16(w + scale B (A mask)), w = the base's bits spread within their cells by core/spread.h, keyed by the element's
// number in the arena; where B A is 0 it is the base. mask [columns] or null = 1.
void lora_merge(Stream s, const LoraWork& work, const float* values, const float* mask, const bf16* base, bf16* arena);
// Adds to `gradient` [values]: dB = scale dW (A mask)^T, dA = mask scale B^T dW. dw: the model's gradient in arena order.
void lora_project(Stream s, const LoraWork& work, const float* values, const float* mask, const float* dw, float* gradient);
void lora_project(Stream s, const LoraWork& work, const float* values, const float* mask, const bf16* dw, float* gradient);

}  // namespace r1::gpu
