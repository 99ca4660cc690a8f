#include "kernels/gpu/scratch_bytes.h"

#include <algorithm>

namespace r1::gpu {

std::size_t row_sum_scratch_bytes(std::int64_t d) { return static_cast<std::size_t>(kRowSumSlices * d) * sizeof(float); }

std::int64_t expert_tiles(std::int64_t entries, std::int64_t experts, std::int64_t tokens) { return entries / tokens + std::min(entries, experts); }

}  // namespace r1::gpu
