// Between the maker of boxes (warm_pool.cpp) and the interpreter that it keeps warm (warm_module.cpp). After the first answer the maker
// sends one byte of WarmOrder flags: kShareNet or nothing. Then each order is one byte of the other flags with the descriptors of a
// BoxFds; a box that was made ahead takes it, and the interpreter answers with a WarmReply and the pidfd of that box's process 1.
#pragma once

#include <sched.h>
#include <sys/types.h>

#include <csignal>
#include <cstdint>

namespace r1::code {

enum WarmOrder : std::uint8_t {
  kWithFetch = 1,  // BoxFds::fetch is there, behind the first five
  kWithAsset = 4,  // BoxFds::asset is there, last
  // The box lives in the interpreter's own network namespace, which is empty: making one costs as much as the rest of a
  // box. Boxes have it one after another, and without an interface it keeps nothing of them.
  kShareNet = 2,
};

struct WarmReply {
  std::int32_t pid = 0;    // 0: ready for the first order; negative: no box
  std::int32_t error = 0;  // errno
};

constexpr unsigned long kBoxClone = SIGCHLD | CLONE_PIDFD | CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET |
                                    CLONE_NEWIPC | CLONE_NEWUTS;

}  // namespace r1::code
