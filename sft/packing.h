// Which examples share a micro-batch: best-fit decreasing, so that few rows of the budget stay empty. It decides memory and speed alone:
// examples never attend to one another, each begins at position 0, and the loss's denominator is the update's (rl/packing.h builds the
// rows).
#pragma once

#include <cstdint>
#include <span>

#include "rl/packing.h"

namespace r1 {

// `lengths` [n] tokens. Every index stands in exactly one part; a part holds at most `budget` tokens, unless a single example has more.
// A pure function of its arguments (docs/decisions/0007): ties go to the smaller index. Parts are ordered by their smallest index, as
// are the indices of a part.
MicroBatchPlan pack_best_fit(std::span<const std::int64_t> lengths, std::int64_t budget);

// The same of some of the examples: parts of indices into all `lengths`.
MicroBatchPlan pack_lane(std::span<const std::int64_t> lengths, std::span<const std::int32_t> chosen, std::int64_t budget);

}  // namespace r1
