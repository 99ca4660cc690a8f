// Private to kernels/: memory that a thread keeps between calls.
#pragma once

#include <cstddef>
#include <memory>

#include "kernels/cpu.h"

namespace r1::cpu {

// At least `bytes`, 64-byte aligned, contents undefined; valid until this thread's next call with the same purpose.
template <int kPurpose = 0> inline std::byte* thread_scratch(std::size_t bytes) {
  thread_local std::shared_ptr<std::byte> memory;
  thread_local std::size_t capacity = 0;
  if (bytes > capacity) {
    memory.reset();
    capacity = 0;
    const std::size_t rounded = (bytes + bytes / 2 + 4095) / 4096 * 4096;
    memory = allocate(rounded);
    capacity = rounded;
  }
  return memory.get();
}

}  // namespace r1::cpu
