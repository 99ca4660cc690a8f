// The sum of several device arrays in the order of comm/communicator.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/weights.h"
#include "kernels/gpu/device.h"

namespace r1::gpu {

// out[i] = parts[0][i] + ... : neighbours first, in float32; the same bits as add_in_tree() on the host. kF32 or kBF16, at most 64
// parts; `out` may be one of them. Asynchronous on s. Throws DeviceError.
void add_in_tree(Stream s, DType type, std::span<const std::byte* const> parts, std::byte* out, std::int64_t n);

}  // namespace r1::gpu
