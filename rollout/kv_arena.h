// The memory behind the KV blocks: one mapping made once, whose pages the system gives at first touch.
#pragma once

#include <cstddef>
#include <cstdint>

#include "rollout/block_manager.h"

namespace r1 {

class KvArena {
 public:
  // Throws DeviceError if the address space cannot be had.
  KvArena(std::int32_t num_blocks, std::size_t block_bytes);
  ~KvArena();
  KvArena(const KvArena&) = delete;
  KvArena& operator=(const KvArena&) = delete;

  std::byte* block(BlockId id) const { return memory_ + static_cast<std::size_t>(id) * block_bytes_; }  // 64-byte aligned
  std::size_t block_bytes() const { return block_bytes_; }
  void copy(BlockId from, BlockId to);
  void fill_nan(BlockId id);  // in float32 and bfloat16

 private:
  std::size_t block_bytes_, size_;
  std::byte* memory_ = nullptr;
};

}  // namespace r1
