// AdamW on a state that takes fewer bytes than four float32 a parameter. Conventions as in gpu.h.
#pragma once

#include "kernels/gpu/gpu.h"

namespace r1::gpu {

// Arrays of n, each either as float32 or packed.
struct PackedAdamW {
  bf16* live = nullptr;            // always: the master rounded to nearest, ties to even
  float* master = nullptr;         // or
  std::int16_t* rest = nullptr;    // with `live` the master, exactly (core/split_float.h)
  float *exp_avg = nullptr, *exp_avg_sq = nullptr;  // or
  std::uint8_t *exp_avg8 = nullptr, *exp_avg_sq8 = nullptr, *exp_avg_scale = nullptr, *exp_avg_sq_scale = nullptr;  // core/moment8.h; scales [blocks of 256]
  const float* gradient = nullptr; // or
  const bf16* gradient16 = nullptr;
};
// One step as adamw()'s: with float32 moments and gradient the same bits but for ties of a split master. `first`: the arena's number of
// element 0; it and `update` decide how 8-bit moments are rounded.
void adamw_packed(Stream s, const PackedAdamW& state, std::int64_t n, const AdamWArgs& args, std::uint64_t first, std::uint64_t update);

// A tensor of an arena whose moments' blocks begin at the tensor's first element.
struct PackedTensor {
  std::int64_t first = 0, n = 0;  // elements of the arena
  std::int64_t scale = 0;         // number of its first block's scale
  std::int64_t block = 0;         // blocks of the tensors before it
  bool decays = true;             // by args.weight_decay
};
// The same over all tensors in one launch: state's arrays are the arena's. tensors [count] on the device; `blocks` of all of them.
void adamw_packed(Stream s, const PackedAdamW& state, const PackedTensor* tensors, std::int64_t count, std::int64_t blocks, const AdamWArgs& args,
                  std::uint64_t update);

// As first_non_finite(), over the masters of live and rest.
void first_non_finite_split(Stream s, const bf16* live, const std::int16_t* rest, std::int64_t n, std::int64_t* out, void* scratch);
// rest[i] of the master that master_from_live() gives (weights.h), from element `first` of the model's on.
void rest_from_live(Stream s, const bf16* live, std::int16_t* rest, std::int64_t n, bool spread, std::int64_t first = 0);

// to[i] = bf16(to[i] + from[i]), n a multiple of 8.
void add_rounded(Stream s, bf16* to, const float* from, std::int64_t n);

}  // namespace r1::gpu
