// How the RL loop asks for scores: usually Rubric::score, in tests a lambda.
#pragma once

#include <functional>
#include <vector>

#include "core/types.h"

namespace r1 {

// One score a completion. Thread-safe: called from a pool while other groups are still sampled. What it throws ends the
// run.
using Scorer = std::function<std::vector<Score>(const SampleGroup&)>;

}  // namespace r1
