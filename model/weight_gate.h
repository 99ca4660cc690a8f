// Weights of which this process holds a share: how a transformer gets at the others', a stretch of the arena at a time. On the CPU
// Transformer calls it around the embedding, each layer and the head; nothing in it knows where the arena lies.
#pragma once

#include <cstdint>
#include <functional>

namespace r1 {

// Elements [begin, end) of the arena. Processes that share weights make the same calls in the same order.
struct WeightGate {
  std::function<void(std::int64_t begin, std::int64_t end)> fetch;    // collective: from now on all of them are here
  std::function<void(std::int64_t begin, std::int64_t end)> release;  // those of others are not needed any more
  explicit operator bool() const { return static_cast<bool>(fetch); }
};

}  // namespace r1
