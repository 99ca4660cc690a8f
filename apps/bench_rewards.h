// `r1 bench rewards|sandbox`.
#pragma once

#include <CLI/CLI.hpp>

namespace r1 {

// Adds both to `bench`; `threads` is read when one runs, 0 = all usable cores.
void add_reward_benches(CLI::App& bench, const int& threads);

}  // namespace r1
