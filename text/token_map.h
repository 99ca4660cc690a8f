// A hash map from byte strings to token ids, built once and then only read.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "core/types.h"

namespace r1 {

inline std::uint64_t hash_bytes(std::string_view s) {
  std::uint64_t h = s.size() * 0x9E3779B97F4A7C15ull;
  const char* p = s.data();
  std::size_t n = s.size();
  for (; n >= 8; p += 8, n -= 8) {
    std::uint64_t word;
    std::memcpy(&word, p, 8);
    h = (h ^ word) * 0xBF58476D1CE4E5B9ull;
    h ^= h >> 29;
  }
  std::uint64_t word = 0;
  std::memcpy(&word, p, n);
  h = (h ^ word) * 0x94D049BB133111EBull;
  return h ^ (h >> 32);
}

class TokenMap {
 public:
  static constexpr TokenId kMissing = -1;

  void reserve(std::size_t count, std::size_t bytes) {
    std::size_t slots = 16;
    while (slots < count * 2) slots *= 2;
    slots_.assign(slots, Slot{});
    bytes_.reserve(bytes);
  }
  // The last id given to a key wins.
  void set(std::string_view key, TokenId id) {
    if ((used_ + 1) * 2 > slots_.size()) grow();
    Slot& s = slots_[probe(key)];
    if (s.id == kMissing) {
      s.offset = static_cast<std::uint32_t>(bytes_.size());
      s.size = static_cast<std::uint32_t>(key.size());
      s.hash = static_cast<std::uint32_t>(hash_bytes(key) >> 32);
      bytes_.append(key);
      ++used_;
    }
    s.id = id;
  }
  TokenId find(std::string_view key) const { return slots_.empty() ? kMissing : slots_[probe(key)].id; }
  std::size_t size() const { return used_; }

 private:
  struct Slot {
    std::uint32_t offset = 0, size = 0, hash = 0;
    TokenId id = kMissing;
  };
  std::size_t probe(std::string_view key) const {
    const std::uint64_t h = hash_bytes(key);
    const auto high = static_cast<std::uint32_t>(h >> 32);
    for (std::size_t i = h & (slots_.size() - 1);; i = (i + 1) & (slots_.size() - 1)) {
      const Slot& s = slots_[i];
      if (s.id == kMissing) return i;
      if (s.hash == high && s.size == key.size() && std::memcmp(bytes_.data() + s.offset, key.data(), key.size()) == 0)
        return i;
    }
  }
  void grow() {
    std::vector<Slot> old(slots_.empty() ? 16 : slots_.size() * 2);
    old.swap(slots_);
    for (const Slot& s : old) {
      if (s.id != kMissing) slots_[probe({bytes_.data() + s.offset, s.size})] = s;
    }
  }
  std::vector<Slot> slots_;
  std::string bytes_;
  std::size_t used_ = 0;
};

}  // namespace r1
