// Scratch of sums over rows, known to those who plan memory in builds without CUDA too.
#pragma once

#include <cstddef>
#include <cstdint>

namespace r1::gpu {

inline constexpr std::int64_t kRowSumSlices = 1024;  // partial rows at most

// As row_sum_scratch_bytes() of gpu.h.
constexpr std::size_t row_sum_scratch(std::int64_t d) { return static_cast<std::size_t>(kRowSumSlices * d) * sizeof(float); }

}  // namespace r1::gpu
