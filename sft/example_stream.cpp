#include "sft/example_stream.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "core/rng.h"

namespace r1 {
namespace {

constexpr std::uint64_t kOrder = 0x7366746f72646572ull, kShare = 0x7366747368617265ull;  // apart from every other use of the seed

std::int64_t whole_times(const MixturePart& p) { return static_cast<std::int64_t>(std::floor(p.weight)); }
std::int64_t drawn(const MixturePart& p) { return std::llround((p.weight - std::floor(p.weight)) * static_cast<double>(p.count)); }

void shuffle(std::vector<std::int64_t>& list, std::uint64_t seed, std::uint64_t stream) {
  StreamRng rng(seed, mix64(stream));
  for (std::size_t i = list.size(); i > 1; --i) std::swap(list[i - 1], list[rng.below(i)]);
}

}  // namespace

ExampleStream::ExampleStream(std::vector<MixturePart> parts, std::uint64_t seed, bool shuffle)
    : parts_(std::move(parts)), seed_(seed), shuffle_(shuffle) {
  for (const MixturePart& p : parts_) epoch_size_ += whole_times(p) * p.count + drawn(p);
  if (epoch_size_ == 0) throw ConfigError("an epoch of the data is empty: the weights of the mixture leave no example; raise them");
}

void ExampleStream::order_epoch(std::uint64_t epoch) {
  order_.clear();
  std::int64_t first = 0;
  for (std::size_t k = 0; k < parts_.size(); ++k) {
    const MixturePart& p = parts_[k];
    std::vector<std::int64_t> all(static_cast<std::size_t>(p.count));
    std::iota(all.begin(), all.end(), first);
    for (std::int64_t i = 0; i < whole_times(p); ++i) order_.insert(order_.end(), all.begin(), all.end());
    if (const std::int64_t share = drawn(p); share > 0) {
      // One order a pass through the part, cut into epochs: what an epoch leaves out comes in the next ones.
      const std::int64_t begin = static_cast<std::int64_t>(epoch) * share;
      std::vector<std::int64_t> some;
      for (std::int64_t i = begin, pass = -1; i < begin + share; ++i) {
        if (i / p.count != pass) {
          pass = i / p.count;
          std::iota(all.begin(), all.end(), first);
          shuffle(all, seed_, kShare ^ (static_cast<std::uint64_t>(pass) * 0x10001 + k));
        }
        some.push_back(all[static_cast<std::size_t>(i % p.count)]);
      }
      std::sort(some.begin(), some.end());
      order_.insert(order_.end(), some.begin(), some.end());
    }
    first += p.count;
  }
  if (shuffle_) shuffle(order_, seed_, kOrder ^ epoch);
  epoch_ = epoch;
}

std::int64_t ExampleStream::at(std::uint64_t index) {
  const auto size = static_cast<std::uint64_t>(epoch_size_);
  if (index / size != epoch_) order_epoch(index / size);
  return order_[index % size];
}

}  // namespace r1
