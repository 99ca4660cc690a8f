#include "model/hash128.h"

#include <algorithm>
#include <cstring>

#include "core/rng.h"

namespace r1 {
namespace {

constexpr std::array<std::uint64_t, 4> kKeys{0x452821E638D01377ull, 0xBE5466CF34E90C6Cull, 0xC0AC29B7C97C50DDull,
                                             0x3F84D5B5B5470917ull};

// 64x64 -> 128 bits, both halves folded: one multiplication mixes sixteen input bytes.
std::uint64_t fold(std::uint64_t a, std::uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

std::uint64_t word(const std::byte* p) {
  std::uint64_t value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

}  // namespace

void Hash128::block(const std::byte* p) {
  for (std::size_t i = 0; i < 4; ++i) {
    const std::uint64_t a = word(p + 16 * i), b = word(p + 16 * i + 8);
    // The old lane is added once more, outside the product: a factor of zero cannot wipe out what came before.
    lanes_[i] = fold(a ^ kKeys[i], b ^ lanes_[i]) + (lanes_[i] << 1 | lanes_[i] >> 63);
  }
}

void Hash128::update(const void* data, std::size_t bytes) {
  const auto* p = static_cast<const std::byte*>(data);
  const std::size_t held = total_ % 64;
  total_ += bytes;
  if (held > 0) {
    const std::size_t take = std::min(bytes, 64 - held);
    if (take > 0) std::memcpy(tail_.data() + held, p, take);
    if (held + take < 64) return;
    block(tail_.data());
    p += take;
    bytes -= take;
  }
  for (; bytes >= 64; p += 64, bytes -= 64) block(p);
  if (bytes > 0) std::memcpy(tail_.data(), p, bytes);
}

WeightDigest Hash128::finish() const {
  Hash128 last = *this;
  const std::size_t held = total_ % 64;
  if (held > 0) {
    std::fill(last.tail_.begin() + static_cast<std::ptrdiff_t>(held), last.tail_.end(), std::byte{0});
    last.block(last.tail_.data());
  }
  std::uint64_t low = total_, high = ~total_;  // the length tells "a" from "a\0"
  for (std::size_t i = 0; i < 4; ++i) {
    low = mix64(low ^ last.lanes_[i]);
    high = mix64(high + fold(last.lanes_[i] ^ kKeys[3 - i], low | 1));
  }
  WeightDigest digest;
  std::memcpy(digest.data(), &low, 8);
  std::memcpy(digest.data() + 8, &high, 8);
  return digest;
}

std::string to_hex(const WeightDigest& digest) {
  std::string text;
  for (const std::uint8_t byte : digest) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

}  // namespace r1
