// Private to kernels/: memory that a thread keeps between calls.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

namespace r1::cpu {

// At least `bytes`, 64-byte aligned, contents undefined; valid until this thread's next call with the same purpose.
template <int kPurpose = 0> inline std::byte* thread_scratch(std::size_t bytes) {
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };
  thread_local std::unique_ptr<std::byte, Free> memory;
  thread_local std::size_t capacity = 0;
  if (bytes > capacity) {
    memory.reset();
    capacity = 0;
    const std::size_t rounded = (bytes + bytes / 2 + 4095) / 4096 * 4096;
    memory.reset(static_cast<std::byte*>(std::aligned_alloc(64, rounded)));
    if (!memory) throw std::bad_alloc();
    capacity = rounded;
  }
  return memory.get();
}

}  // namespace r1::cpu
