// Content digests and checksums. XXH3-128 names weights, files and configurations: fast, stable across machines, and
// not meant against an adversary. CRC-32C (Castagnoli) guards records of journals and TensorBoard files.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace r1 {

using Digest = std::array<std::uint8_t, 16>;  // big-endian, as printed by `xxh128sum`; equals WeightDigest

// Streaming: the digest of the concatenation of all updates. One thread at a time.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;
  void update(const void* data, std::size_t bytes);
  void update(std::string_view text) { update(text.data(), text.size()); }
  // A length and then the text: so that ("ab", "c") differs from ("a", "bc").
  void update_field(std::string_view text);
  Digest digest() const;  // of everything so far

 private:
  struct State;
  std::unique_ptr<State> state_;
};

Digest digest_of(std::string_view bytes);
Digest digest_of_file(const std::filesystem::path& path);  // throws IoError
std::string to_hex(const Digest& digest);                  // 32 lower-case digits
Digest digest_from_hex(std::string_view hex);              // throws DataError

std::uint32_t crc32c(std::string_view bytes, std::uint32_t previous = 0);
// The form stored in TFRecord files: a crc over data that holds crcs would otherwise be weak.
std::uint32_t masked_crc32c(std::string_view bytes);

}  // namespace r1
