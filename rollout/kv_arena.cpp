#include "rollout/kv_arena.h"

#include <cerrno>
#include <cstring>

#include <sys/mman.h>

#include "core/error.h"

namespace r1 {

KvArena::KvArena(std::int32_t num_blocks, std::size_t block_bytes)
    : block_bytes_(block_bytes), size_(static_cast<std::size_t>(num_blocks) * block_bytes) {
  R1_CHECK(block_bytes % 64 == 0, "a KV block of ", block_bytes, " bytes");
  void* memory = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED)
    throw DeviceError(message("cannot map ", size_ >> 20, " MiB for the KV cache (", std::strerror(errno), "); lower rollout.kv_cache_gb"));
  memory_ = static_cast<std::byte*>(memory);
  // Advice only: attention walks blocks that lie megabytes apart, large pages save most TLB misses.
  (void)madvise(memory_, size_, MADV_HUGEPAGE);
}

KvArena::~KvArena() { munmap(memory_, size_); }

void KvArena::copy(BlockId from, BlockId to) { std::memcpy(block(to), block(from), block_bytes_); }

void KvArena::fill_nan(BlockId id) { std::memset(block(id), 0xFF, block_bytes_); }

}  // namespace r1
