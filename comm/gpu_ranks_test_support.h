// For tests of several ranks with a GPU each.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string>

#include "comm/ranks_test_support.h"
#include "kernels/gpu/device.h"

namespace r1::test {

// GPUs of this machine that are for us. The driver must not be touched in a process that forks later: children count.
inline int count_gpus() {
  int n = 0;
  for (; n < 16; ++n) {
    const pid_t child = fork();
    if (child == 0) {
      setenv("CUDA_VISIBLE_DEVICES", std::to_string(n).c_str(), 1);
      _exit(gpu::available() ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) break;
  }
  return n;
}

// First in a rank's body: its own GPU is the only one.
inline void take_gpu(const Session& session) { setenv("CUDA_VISIBLE_DEVICES", std::to_string(session.rank()).c_str(), 1); }

}  // namespace r1::test
