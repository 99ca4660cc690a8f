// rewards_bench [seconds per case]: `r1 bench rewards` with one thread.
#include <cstdlib>
#include <iostream>

#include "rewards/rewards_bench.h"

int main(int argc, char** argv) {
  r1::RewardsBenchOptions options;
  if (argc > 1) options.seconds = std::atof(argv[1]);
  r1::run_rewards_bench(options, std::cout);
}
