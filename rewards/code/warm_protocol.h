// Between the maker of boxes (warm_pool.cpp) and the interpreter that it keeps warm (warm_module.cpp): each order is one
// byte with the descriptors of a BoxFds, each answer a WarmReply with the pidfd of the box's process 1.
#pragma once

#include <sched.h>
#include <sys/types.h>

#include <csignal>
#include <cstdint>

namespace r1::code {

struct WarmReply {
  std::int32_t pid = 0;    // 0: ready for the first order; negative: no box
  std::int32_t error = 0;  // errno
};

constexpr unsigned long kBoxClone = SIGCHLD | CLONE_PIDFD | CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET |
                                    CLONE_NEWIPC | CLONE_NEWUTS;

}  // namespace r1::code
