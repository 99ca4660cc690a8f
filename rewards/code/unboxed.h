// A program without a box, for hosts that cannot isolate and users who said that they accept it. It keeps the seccomp
// filter and the limits of time, output, file size and, for each process, memory; as root it runs as `nobody`. It can
// read what its user can read, write where its user can write, and see and signal its user's other processes.
#pragma once

#include "rewards/code/box.h"

namespace r1::code {

Outcome run_unboxed(const Job& job);

}  // namespace r1::code
