// Which samples of a rollout each policy update trains on. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/types.h"

namespace r1 {

// `n` disjoint parts that cover all samples, as equal as possible, whole groups where there are at least n groups (else
// single samples). The parts are drawn from (seed, rollout); inside a part samples keep their order. n = 1 keeps all.
std::vector<std::vector<std::int32_t>> split_minibatches(std::span<const TrainSample> samples, int n,
                                                         std::uint64_t seed, std::uint64_t rollout);

}  // namespace r1
