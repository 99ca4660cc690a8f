// How old the weights are that drew a rollout's tokens, seen from the weights that learn from it.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "core/types.h"

namespace r1 {

// Every token that says which weights drew it must name one of [oldest, newest]: stale weights are an error, never a number. Throws
// Error naming the sample, the token and the versions.
void check_versions(std::span<const ScoredGroup> groups, WeightVersion oldest, WeightVersion newest);

// staleness/mean, staleness/max: updates between a token's weights and `current`, over the tokens of the kept groups [groups] (empty =
// all); a token that does not say counts as current.
void add_staleness(std::span<const ScoredGroup> groups, std::span<const std::uint8_t> kept, WeightVersion current,
                   std::map<std::string, double>& metrics);

}  // namespace r1
