// How the RL loop asks for scores: usually Rubric::score, in tests a lambda.
#pragma once

#include <functional>
#include <vector>

#include "core/types.h"

namespace r1 {

// One score a completion. Thread-safe: called from a pool while other groups are still sampled. What it throws ends the
// run.
using Scorer = std::function<std::vector<Score>(const SampleGroup&)>;

// When a group's completions are scored.
struct Scoring {
  Scorer group;  // a whole group, once its last completion has ended
  // The same scores of one completion by itself (a group of one), as soon as that has ended; empty = `group` is asked.
  Scorer alone;
  // Once all scores of a group are there, before they are journalled; may be empty.
  std::function<void(const SampleGroup&, std::vector<Score>&)> finish;
};

}  // namespace r1
