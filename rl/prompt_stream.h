// Prompts in the order of a run: a pure function of an index, so that a cursor is one number and resume is exact.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "core/types.h"

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
  Prompt at(std::uint64_t index) const override;

 private:
  std::vector<Prompt> prompts_;
  std::uint64_t seed_;
  bool shuffle_;
  mutable std::mutex mutex_;  // guards the order of the last epoch asked for
  mutable std::uint64_t epoch_ = ~std::uint64_t{0};
  mutable std::vector<std::uint32_t> order_;
};

}  // namespace r1
