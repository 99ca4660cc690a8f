// The digest of weights that a device sums up (kernels/gpu/weights.h, digest_words) instead of hashing them byte by byte: of their names, in
// the order of the memory they lie in, and the two sums over that memory.
#pragma once

#include <span>
#include <string_view>

#include "core/digest.h"

namespace r1 {

inline Digest digest_of_sums(std::span<const std::string_view> names, std::uint64_t first, std::uint64_t second) {
  Hasher hash;
  for (const std::string_view name : names) hash.update_field(name);
  const std::uint64_t sums[2] = {first, second};
  hash.update(sums, sizeof sums);
  return hash.digest();
}

}  // namespace r1
