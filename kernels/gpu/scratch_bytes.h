// Sizes of scratch memory that are planned in every build, with a GPU or without one: row_sum_scratch_bytes() of gpu.h, expert_tiles() of experts.h.
#pragma once

#include <cstdint>

#include "kernels/gpu/experts.h"
#include "kernels/gpu/gpu.h"

namespace r1::gpu {

inline constexpr std::int64_t kRowSumSlices = 1024;  // of a sum over rows, at most

}  // namespace r1::gpu
