// The coded change of a range of elements (weights.proto, Chunk.data).
#include <cstring>

#include <zstd.h>

#include "proto/weight_transfer.h"

namespace r1 {
namespace {

void put_u32(std::string& out, std::uint32_t v) {
  for (int i = 0; i < 4; ++i) out.push_back(static_cast<char>(v >> (8 * i)));
}
std::uint32_t get_u32(const unsigned char* at) {
  return std::uint32_t{at[0]} | std::uint32_t{at[1]} << 8 | std::uint32_t{at[2]} << 16 | std::uint32_t{at[3]} << 24;
}

// A step up is an even code, one down an odd one: small steps are small codes.
template <class U> U zigzag(U difference) {
  constexpr int kTop = 8 * sizeof(U) - 1;
  return static_cast<U>(static_cast<U>(difference << 1) ^ static_cast<U>(0 - (difference >> kTop)));
}
template <class U> U unzigzag(U code) { return static_cast<U>(static_cast<U>(code >> 1) ^ static_cast<U>(0 - (code & 1))); }

template <class U> U load(const std::byte* memory, std::size_t element) {
  U out;
  std::memcpy(&out, memory + element * sizeof(U), sizeof(U));
  return out;
}

constexpr std::size_t kSkim = 64;  // bytes compared at once

template <class U>
std::string encode(const std::byte* before, const std::byte* now, std::size_t n, std::int64_t& changed) {
  std::string gaps;
  std::vector<U> codes;
  std::size_t next = 0;  // the element after the last one named
  constexpr std::size_t kStep = kSkim / sizeof(U);
  for (std::size_t from = 0; from < n; from += kStep) {
    const std::size_t to = std::min(n, from + kStep);
    if (std::memcmp(before + from * sizeof(U), now + from * sizeof(U), (to - from) * sizeof(U)) == 0) continue;
    for (std::size_t i = from; i < to; ++i) {
      const U difference = static_cast<U>(load<U>(now, i) - load<U>(before, i));
      if (difference == 0) continue;
      std::size_t gap = i - next;
      for (; gap >= 255; gap -= 255) gaps.push_back('\xFF');
      gaps.push_back(static_cast<char>(gap));
      codes.push_back(zigzag(difference));
      next = i + 1;
    }
  }
  if (codes.empty()) return {};
  changed += static_cast<std::int64_t>(codes.size());
  std::string plain;
  plain.reserve(8 + gaps.size() + codes.size() * sizeof(U));
  put_u32(plain, static_cast<std::uint32_t>(codes.size()));
  put_u32(plain, static_cast<std::uint32_t>(gaps.size()));
  plain += gaps;
  for (std::size_t b = 0; b < sizeof(U); ++b)
    for (const U code : codes) plain.push_back(static_cast<char>(code >> (8 * b)));
  std::string out(ZSTD_compressBound(plain.size()), '\0');
  const std::size_t size = ZSTD_compress(out.data(), out.size(), plain.data(), plain.size(), 1);
  R1_CHECK(!ZSTD_isError(size), "zstd: ", ZSTD_getErrorName(size));
  out.resize(size);
  return out;
}

template <class U> void apply(const unsigned char* plain, std::size_t size, std::byte* memory, std::size_t n) {
  const std::size_t count = size < 8 ? 0 : get_u32(plain), gap_bytes = size < 8 ? 0 : get_u32(plain + 4);
  if (size < 8 || count == 0 || count > n || size != 8 + gap_bytes + count * sizeof(U)) throw Error("its parts have not the lengths they say");
  const unsigned char *gaps = plain + 8, *codes = gaps + gap_bytes;
  std::size_t at = 0, element = 0;
  for (std::size_t i = 0; i < gap_bytes; ++i) {
    element += gaps[i];
    if (gaps[i] == 255) continue;
    if (at == count || element >= n) throw Error("it names more elements than there are");
    U code = 0;
    for (std::size_t b = 0; b < sizeof(U); ++b) code = static_cast<U>(code | static_cast<U>(static_cast<U>(codes[b * count + at]) << (8 * b)));
    const U value = static_cast<U>(load<U>(memory, element) + unzigzag(code));
    std::memcpy(memory + element * sizeof(U), &value, sizeof(U));
    ++element;
    ++at;
  }
  if (at != count) throw Error("it names fewer elements than it has values");
}

}  // namespace

std::string encode_change(const std::byte* before, const std::byte* now, std::size_t elements, std::size_t width, std::int64_t& changed) {
  return width == 2 ? encode<std::uint16_t>(before, now, elements, changed) : encode<std::uint32_t>(before, now, elements, changed);
}

void apply_change(std::string_view data, std::byte* memory, std::size_t elements, std::size_t width) {
  const std::size_t most = 8 + elements + elements / 255 + 1 + elements * width;
  const unsigned long long size = ZSTD_getFrameContentSize(data.data(), data.size());
  if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN || size > most) throw Error("it is no frame of zstd, or unpacks to more than a change may have");
  std::string plain(static_cast<std::size_t>(size), '\0');
  const std::size_t got = ZSTD_decompress(plain.data(), plain.size(), data.data(), data.size());
  if (ZSTD_isError(got) || got != plain.size()) throw Error("zstd cannot unpack it");
  const auto* bytes = reinterpret_cast<const unsigned char*>(plain.data());
  if (width == 2) apply<std::uint16_t>(bytes, plain.size(), memory, elements);
  else apply<std::uint32_t>(bytes, plain.size(), memory, elements);
}

}  // namespace r1
