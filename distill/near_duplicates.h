// Near duplicates by MinHash (Broder, 1997) with banded locality-sensitive hashing. Deterministic: the same texts in the same
// order give the same answers on every machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace r1 {

struct NearOptions {
  double threshold = 0.8;  // share of common shingles (Jaccard) from which two texts are near duplicates
  int shingle = 5;         // words; dictionary words where there are no spaces; letter case does not matter
  int hashes = 128;        // of a signature: the share is known to within sqrt(J (1 - J) / hashes)
};

using MinHash = std::vector<std::uint32_t>;  // [hashes]

MinHash min_hash(std::string_view text, const NearOptions& options);
double similarity(const MinHash& a, const MinHash& b);  // estimate of the share of common shingles

// Not thread-safe.
class NearIndex {
 public:
  // Bands are as long as they may be while a pair at the threshold meets in one of them with probability 0.995.
  explicit NearIndex(const NearOptions& options);
  // The first added text that is a near duplicate; nothing if there is none.
  std::optional<std::size_t> find(const MinHash& hash) const;
  void add(MinHash hash);  // numbers count from 0
  std::size_t size() const { return all_.size(); }
  int bands() const { return bands_; }
  int rows() const { return rows_; }
  const NearOptions& options() const { return options_; }

 private:
  std::uint64_t band(const MinHash& hash, int b) const;
  NearOptions options_;
  int bands_ = 0, rows_ = 0;
  std::vector<MinHash> all_;
  std::vector<std::unordered_map<std::uint64_t, std::vector<std::uint32_t>>> buckets_;  // [bands]
};

}  // namespace r1
