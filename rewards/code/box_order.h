// A Job written down for the box's process 1.
#pragma once

#include "rewards/code/box.h"
#include "rewards/code/fd.h"

namespace r1::code {

// A memfd with a BoxOrder; empty if the kernel refused. `warm`: argv is a Python file for a warm interpreter.
Fd write_order(const Job& job, int landlock_abi, bool warm);

}  // namespace r1::code
