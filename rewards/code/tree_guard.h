// Sums time and memory over every process of a box, read from outside through the box's own /proc, which lists nothing
// but the box. It needs no rights beyond owning the box, so it holds where no cgroup can be made.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace r1::code {

struct TreeUse {
  std::int64_t cpu_ms = 0, memory_kb = 0;
  bool known = false;
};

class TreeGuard {
 public:
  // `init` must have finished making its root, else its /proc would be the host's.
  explicit TreeGuard(pid_t init);
  // memory_limit_kb: below it plain resident sizes are good enough (they count shared pages once for each process);
  // above it the shares are read, which is slower but counts every page once.
  TreeUse measure(std::int64_t memory_limit_kb) const;

 private:
  std::string proc_, work_;
};

}  // namespace r1::code
