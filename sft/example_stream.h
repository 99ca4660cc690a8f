// The order of examples in a run: epochs, shuffles and mixtures, all a function of an index, so that a cursor is one number and resume
// is exact.
#pragma once

#include <cstdint>
#include <vector>

namespace r1 {

// Examples [first, first + count) of one list belong to a part of the mixture.
struct MixturePart {
  std::int64_t count = 0;
  double weight = 1;  // times its examples come in an epoch; 0.3 = a third of them, others each epoch; 2.5 = each twice, half a third time
};

// Not thread-safe.
class ExampleStream {
 public:
  // Parts lie one behind another in the list of examples. Draws are keyed by (seed, epoch, part). shuffle = false keeps the list's
  // order. Throws ConfigError if an epoch would be empty.
  ExampleStream(std::vector<MixturePart> parts, std::uint64_t seed, bool shuffle);

  std::int64_t epoch_size() const { return epoch_size_; }  // the same for every epoch
  std::int64_t at(std::uint64_t index);                    // which example is the index-th of the run; without end

 private:
  void order_epoch(std::uint64_t epoch);
  std::vector<MixturePart> parts_;
  std::uint64_t seed_;
  bool shuffle_;
  std::int64_t epoch_size_ = 0;
  std::uint64_t epoch_ = ~std::uint64_t{0};
  std::vector<std::int64_t> order_;
};

}  // namespace r1
