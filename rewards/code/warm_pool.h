// Interpreters that wait, warm, for boxes to be copied out of them; the maker's side. They belong to this process, end
// with it, and are made when first needed. Each serves one box at a time, so there come to be as many as boxes run at
// once. Thread-safe; a forked copy of this process makes its own.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "rewards/code/box.h"
#include "rewards/code/box_child.h"
#include "rewards/code/fd.h"

namespace r1::code {

class Interpreter;  // or launcher

struct Process {
  pid_t pid = -1;
  Fd pidfd;
  std::shared_ptr<Interpreter> from;  // nullptr: a copy of this very process
};

// A box's process 1, with its ids. pid < 0 if no interpreter can be had; then warm_problem() says why, and
// the box must be made another way. python: for a Python file; otherwise out of a launcher, a small process without an
// interpreter.
Process start_warm(const BoxFds& fds, const Limits& limits, bool python, int landlock_abi);

// The kernel has killed something in the box for want of memory.
bool hit_memory(const Process& box);

// The box is gone, and what it came out of is free for the next.
void end_warm(Process& box);

// Empty if an interpreter stands ready (it is made for the question), else why there is none; and whether the kernel
// limits what comes out of it by a control group.
std::string warm_problem(int landlock_abi);
std::string group_problem(int landlock_abi);

}  // namespace r1::code
