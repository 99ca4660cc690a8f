// Prompts in the order of a run: a pure function of an index, so that a cursor is one number and resume is exact.
#pragma once

#include <cstdint>
#include <vector>

#include "core/types.h"
#include "rl/epoch_order.h"

namespace r1 {

class PromptStream {
 public:
  virtual ~PromptStream() = default;
  virtual std::uint64_t size() const = 0;                     // prompts of one epoch
  virtual Prompt at(std::uint64_t index) const = 0;           // index 0, 1, ... without end; thread-safe
};

// Epoch e shows every prompt once, in an order drawn from (seed, e); shuffle = false keeps the order given.
class ShuffledPrompts : public PromptStream {
 public:
  // Throws DataError if there is none.
  ShuffledPrompts(std::vector<Prompt> prompts, std::uint64_t seed, bool shuffle = true);
  std::uint64_t size() const override { return prompts_.size(); }
  Prompt at(std::uint64_t index) const override { return prompts_[order_.at(index)]; }

 private:
  std::vector<Prompt> prompts_;
  EpochOrder order_;
};

}  // namespace r1
