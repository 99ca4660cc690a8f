// Weights as a whole on the GPU: random ones, and a digest. Conventions as in gpu.h.
#pragma once

#include "kernels/gpu/gpu.h"

namespace r1::gpu {

// out[i] = the i-th number that model/weight_store's init_random() gives parameter number `stream`, to the bit.
void fill_random(Stream s, bf16* out, std::int64_t n, std::uint64_t seed, std::uint64_t stream, float std);
void fill_value(Stream s, bf16* out, std::int64_t n, float value);

// Adds to sum[0], sum[1] two independent 64-bit sums over the 16-byte pieces of data, each mixed with its index, which is `first` for the
// first piece: order-free, so deterministic, and the sums of an array's parts add up to the array's. bytes is a multiple of 16. The
// caller zeroes `sum` (device memory).
void digest_words(Stream s, const void* data, std::int64_t bytes, std::uint64_t* sum, std::int64_t first = 0);

// The number of the float32 master that rounds to live[i] and lies anywhere in its rounding cell (rl/parameter_arena, kSpread), or
// live[i] itself. The arrays begin at element `first` of the model's.
void master_from_live(Stream s, const bf16* live, float* master, std::int64_t n, bool spread, std::int64_t first = 0);

}  // namespace r1::gpu
