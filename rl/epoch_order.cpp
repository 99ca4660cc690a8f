#include "rl/epoch_order.h"

#include <numeric>
#include <utility>

#include "core/rng.h"

namespace r1 {
namespace {
constexpr std::uint64_t kStream = 0x70726f6d707473ull;  // "prompts"
}

std::uint64_t EpochOrder::at(std::uint64_t index) const {
  const std::uint64_t epoch = index / n_, place = index % n_;
  if (!shuffle_) return place;
  const std::lock_guard lock(mutex_);
  if (epoch != epoch_) {
    order_.resize(n_);
    std::iota(order_.begin(), order_.end(), 0u);
    StreamRng rng(seed_, mix64(epoch ^ kStream));
    for (std::size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[rng.below(i)]);
    epoch_ = epoch;
  }
  return order_[place];
}

}  // namespace r1
