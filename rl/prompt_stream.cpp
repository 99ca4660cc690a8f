#include "rl/prompt_stream.h"

#include <numeric>
#include <utility>

#include "core/error.h"
#include "core/rng.h"

namespace r1 {
namespace {
constexpr std::uint64_t kStream = 0x70726f6d707473ull;  // "prompts"
}

ShuffledPrompts::ShuffledPrompts(std::vector<Prompt> prompts, std::uint64_t seed, bool shuffle)
    : prompts_(std::move(prompts)), seed_(seed), shuffle_(shuffle) {
  if (prompts_.empty()) throw DataError("there is no prompt to train on");
}

Prompt ShuffledPrompts::at(std::uint64_t index) const {
  const std::uint64_t epoch = index / prompts_.size(), place = index % prompts_.size();
  if (!shuffle_) return prompts_[place];
  const std::lock_guard lock(mutex_);
  if (epoch != epoch_) {
    order_.resize(prompts_.size());
    std::iota(order_.begin(), order_.end(), 0u);
    StreamRng rng(seed_, mix64(epoch ^ kStream));
    for (std::size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[rng.below(i)]);
    epoch_ = epoch;
  }
  return prompts_[order_[place]];
}

}  // namespace r1
