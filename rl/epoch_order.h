// The order in which n things are shown: every epoch each once, shuffled by (seed, epoch). A pure function of an index, so that a
// cursor is one number and resume is exact.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

namespace r1 {

class EpochOrder {
 public:
  // n > 0. shuffle = false keeps 0, 1, ..., n-1.
  EpochOrder(std::uint64_t n, std::uint64_t seed, bool shuffle) : n_(n), seed_(seed), shuffle_(shuffle) {}
  std::uint64_t size() const { return n_; }
  // What comes at place `index` = 0, 1, ... without end. Thread-safe.
  std::uint64_t at(std::uint64_t index) const;

 private:
  std::uint64_t n_, seed_;
  bool shuffle_;
  mutable std::mutex mutex_;  // guards the order of the last epoch asked for
  mutable std::uint64_t epoch_ = ~std::uint64_t{0};
  mutable std::vector<std::uint32_t> order_;
};

}  // namespace r1
