// `r1 verify KIND` and the program r1-verify, which is the same alone: a subcommand that needs no LibTorch.
#pragma once

#include <CLI/CLI.hpp>

namespace r1 {

// Adds the positional KIND and the options to `cmd`. `threads` and `quiet` are read when the command runs; 0 threads = all
// usable cores. Throws core/error.h's classes; Interrupted after a stop signal.
void set_up_verify(CLI::App& cmd, const int& threads, const bool& quiet);

}  // namespace r1
