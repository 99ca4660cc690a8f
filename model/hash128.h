// A fast 128-bit hash of bytes, for telling weights and files apart (torn, stale, changed). Not for secrets: an
// adversary can make collisions. The same value on every little-endian machine and for every split into update() calls.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/types.h"

namespace r1 {

class Hash128 {
 public:
  void update(const void* data, std::size_t bytes);
  void update(std::string_view text) { update(text.data(), text.size()); }
  WeightDigest finish() const;  // of everything so far; update() may go on

 private:
  void block(const std::byte* p);
  std::array<std::uint64_t, 4> lanes_{0x243F6A8885A308D3ull, 0x13198A2E03707344ull, 0xA4093822299F31D0ull,
                                      0x082EFA98EC4E6C89ull};  // digits of pi
  std::array<std::byte, 64> tail_{};
  std::uint64_t total_ = 0;
};

std::string to_hex(const WeightDigest&);  // 32 lower-case digits

}  // namespace r1
