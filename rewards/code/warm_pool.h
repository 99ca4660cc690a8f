// Interpreters that wait, warm, for boxes to be copied out of them; the maker's side. They belong to this process, end
// with it, and are made when first needed: one, and more where several threads ask at the same time.
// Thread-safe; a forked copy of this process makes its own.
#pragma once

#include <sys/types.h>

#include <string>

#include "rewards/code/box_child.h"
#include "rewards/code/fd.h"

namespace r1::code {

struct Process {
  pid_t pid = -1;
  Fd pidfd;
  Fd net;  // an empty network namespace that the box has for itself as long as it lives
};

// A box's process 1, which waits for its `go`. pid < 0 if no interpreter can be had; then warm_problem() says why, and
// the box must be made another way.
// share_net: network namespaces may serve one box after another; see give_back.
Process start_warm(const BoxFds& fds, bool share_net);

// The box is gone: what it had may serve the next.
void give_back(Process box);

// Empty if an interpreter stands ready (it is made for the question), else why there is none.
std::string warm_problem();

}  // namespace r1::code
