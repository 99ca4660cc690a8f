#include "distill/near_duplicates.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/rng.h"
#include "rewards/word_units.h"

namespace r1 {
namespace {

constexpr double kMeet = 0.995;

}  // namespace

MinHash min_hash(std::string_view text, const NearOptions& o) {
  const std::vector<std::uint64_t> units = word_units(text);
  const std::size_t n = std::min(static_cast<std::size_t>(o.shingle), std::max<std::size_t>(units.size(), 1));
  MinHash out(static_cast<std::size_t>(o.hashes), std::numeric_limits<std::uint32_t>::max());
  for (std::size_t i = 0; i + n <= std::max(units.size(), n); ++i) {
    std::uint64_t h = 0;
    for (std::size_t k = 0; k < n && i + k < units.size(); ++k) h = mix64(h + units[i + k]);
    // One strong hash a shingle; the others are odd multiples of it, spread by their upper halves.
    for (std::size_t k = 0; k < out.size(); ++k)
      out[k] = std::min(out[k], static_cast<std::uint32_t>(mix64(h ^ (0x9E3779B97F4A7C15ull * (k + 1))) >> 32));
  }
  return out;
}

double similarity(const MinHash& a, const MinHash& b) {
  R1_CHECK(a.size() == b.size() && !a.empty(), "signatures of ", a.size(), " and ", b.size(), " hashes");
  std::size_t equal = 0;
  for (std::size_t k = 0; k < a.size(); ++k) equal += a[k] == b[k];
  return static_cast<double>(equal) / static_cast<double>(a.size());
}

NearIndex::NearIndex(const NearOptions& options) : options_(options) {
  if (!(options.threshold > 0 && options.threshold <= 1))
    throw ConfigError(message("dedup.near is ", options.threshold, "; it must be above 0 and at most 1"));
  if (options.hashes < 16 || options.hashes > 4096) throw ConfigError(message("dedup.hashes is ", options.hashes, "; it must be from 16 to 4096"));
  if (options.shingle < 1 || options.shingle > 100) throw ConfigError(message("dedup.shingle is ", options.shingle, "; it must be from 1 to 100"));
  for (rows_ = options.hashes; rows_ > 1; --rows_)
    if (1 - std::pow(1 - std::pow(options.threshold, rows_), options.hashes / rows_) >= kMeet) break;
  bands_ = options.hashes / rows_;
  buckets_.resize(static_cast<std::size_t>(bands_));
}

std::uint64_t NearIndex::band(const MinHash& hash, int b) const {
  std::uint64_t h = 0;
  for (int r = 0; r < rows_; ++r) h = mix64(h + hash[static_cast<std::size_t>(b * rows_ + r)] + 1);
  return h;
}

std::optional<std::size_t> NearIndex::find(const MinHash& hash) const {
  std::vector<std::uint32_t> met;
  for (int b = 0; b < bands_; ++b) {
    const auto& buckets = buckets_[static_cast<std::size_t>(b)];
    if (const auto it = buckets.find(band(hash, b)); it != buckets.end()) met.insert(met.end(), it->second.begin(), it->second.end());
  }
  std::sort(met.begin(), met.end());
  met.erase(std::unique(met.begin(), met.end()), met.end());
  for (const std::uint32_t i : met)
    if (similarity(all_[i], hash) >= options_.threshold) return i;
  return std::nullopt;
}

void NearIndex::add(MinHash hash) {
  R1_CHECK(hash.size() == static_cast<std::size_t>(options_.hashes), "a signature of ", hash.size(), " hashes");
  const auto number = static_cast<std::uint32_t>(all_.size());
  for (int b = 0; b < bands_; ++b) buckets_[static_cast<std::size_t>(b)][band(hash, b)].push_back(number);
  all_.push_back(std::move(hash));
}

}  // namespace r1
