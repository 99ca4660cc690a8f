// Memory on large pages.
#include <atomic>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "kernels/cpu.h"

namespace r1::cpu {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

std::shared_ptr<std::byte> own_pages(std::size_t bytes) {
  const std::size_t rounded = (bytes + kHugePage - 1) / kHugePage * kHugePage;
  auto* memory = static_cast<std::byte*>(std::aligned_alloc(kHugePage, rounded));
  if (memory == nullptr) throw std::bad_alloc();
#if defined(__linux__)
  madvise(memory, rounded, MADV_HUGEPAGE);  // a refusal changes nothing but speed
#endif
  return {memory, [](std::byte* p) { std::free(p); }};
}

}  // namespace

std::shared_ptr<std::byte> allocate(std::size_t bytes) {
  // Small requests share a slab, which goes when the last of them does.
  constexpr std::size_t kSlab = 8 * kHugePage;
  static std::mutex mutex;
  static std::shared_ptr<std::byte> slab;
  static std::size_t used = kSlab;
  const std::size_t rounded = (bytes + 63) / 64 * 64;
  if (rounded >= kHugePage) return own_pages(rounded);
  const std::lock_guard lock(mutex);
  if (used + rounded > kSlab || (slab && slab.use_count() == 1)) {
    if (!slab || slab.use_count() > 1) slab = own_pages(kSlab);
    std::atomic_thread_fence(std::memory_order_acquire);  // after the writes of those who held it
    used = 0;  // nobody else holds the slab: start over
  }
  std::shared_ptr<std::byte> out(slab, slab.get() + used);
  used += rounded;
  return out;
}

}  // namespace r1::cpu
