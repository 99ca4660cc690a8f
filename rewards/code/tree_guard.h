// Sums time and memory over every process of a box, read from outside through the box's own /proc, which lists nothing
// but the box. It needs no rights beyond owning the box, so it holds where no cgroup can be made.
#pragma once

#include <cstdint>

#include "rewards/code/fd.h"
#include "rewards/code/warm_pool.h"

namespace r1::code {

struct TreeUse {
  std::int64_t cpu_ms = 0, memory_kb = 0;
  bool known = false;
};

class TreeGuard {
 public:
  // `box` outlives this.
  explicit TreeGuard(const Process& box) : box_(box) {}
  // memory_limit_kb: below it plain resident sizes are good enough (they count shared pages once for each process);
  // above it the shares are read, which is slower but counts every page once. Only once the box has started: before,
  // its /proc is the host's.
  TreeUse measure(std::int64_t memory_limit_kb);

 private:
  bool open_box();
  const Process& box_;
  Fd proc_, work_;  // opened at the first look, since a number may soon name another process
};

}  // namespace r1::code
