// Speed of the rewards: `r1 bench rewards`.
#pragma once

#include <iosfwd>
#include <string>

namespace r1 {

struct RewardsBenchOptions {
  double seconds = 0.5;  // for each case and number of threads
  int threads = 1;       // cases run with 1 thread and with this many
  std::string only;      // cases whose name begins so; empty = all
};

// One JSON line a case: {"bench", "case", "checks_per_s", "p50_us", "p99_9_us", "max_us", "mb_per_s", "threads", "seconds",
// "machine", "cores", "commit"}. A check is one completion; times are of whole score() calls of one completion, the
// reading of the gold answer included. Throws ConfigError if no case begins with `only`.
void run_rewards_bench(const RewardsBenchOptions& options, std::ostream& out);

}  // namespace r1
