// Memory of the GPU that the phases of a step use in turns: keys and values while sampling, activations while learning.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "core/error.h"
#include "core/format.h"
#include "kernels/gpu/device.h"

namespace r1 {

// A pass does not fit; the learner halves its micro-batch.
class GpuOutOfMemory : public DeviceError {
 public:
  using DeviceError::DeviceError;
};

// The range itself, owned by whoever made it, which outlives those that use it. A phase that writes to it counts `epoch` up, so
// that others see that what they left there is gone. Of one thread.
struct GpuRegion {
  GpuRegion() = default;
  explicit GpuRegion(const gpu::DeviceMemory& memory) : data(memory.data()), bytes(memory.bytes()) {}
  std::byte* data = nullptr;
  std::size_t bytes = 0;
  std::uint64_t epoch = 0;
};

// Hands out pieces of one range, 256-byte aligned, all given back at once. Without memory (base null) it only counts.
class GpuBump {
 public:
  GpuBump() = default;
  GpuBump(std::byte* base, std::size_t bytes) : base_(base), bytes_(bytes) {}
  template <class T>
  T* take(std::int64_t n) {
    const std::size_t at = used_;
    used_ += (static_cast<std::size_t>(n) * sizeof(T) + 255) / 256 * 256;
    if (base_ == nullptr) return nullptr;
    if (used_ > bytes_)
      throw GpuOutOfMemory(message("out of GPU memory: the pass needs ", human_bytes(used_), " or more, there are ", human_bytes(bytes_),
                                   "; lower train.tokens_per_micro_batch"));
    return reinterpret_cast<T*>(base_ + at);
  }
  std::size_t used() const { return used_; }
  std::size_t left() const { return bytes_ - used_; }

 private:
  std::byte* base_ = nullptr;
  std::size_t bytes_ = 0, used_ = 0;
};

}  // namespace r1
