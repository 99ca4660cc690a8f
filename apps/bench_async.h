// `r1 bench async`: steps of the real trainer on random weights or a model's, rollout and learning in turns and side by side.
#pragma once

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <vector>

#include "apps/bench_train.h"
#include "apps/runtime.h"

namespace r1 {

struct AsyncBenchCase {
  TrainBenchCase batch;
  std::vector<std::int64_t> staleness = {0, 1};  // a case each
  int updates = 1;            // a rollout
  bool free_running = false;
  double reward_ms = 0;       // that a completion's score takes
  int reward_threads = 1;
  bool whole_groups = false;  // score completions with their group
};

// `open` opens the model anew for each case. Prints one JSON line a case: medians over options.repeats steps after those that fill the
// pipeline. Every answer has new_tokens
// tokens.
void run_async_bench(const std::function<Runtime()>& open, const AsyncBenchCase& c, const TrainBenchOptions& options, std::ostream& out);

}  // namespace r1
