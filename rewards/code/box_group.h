// A control group (version 1 or 2) for one interpreter and the boxes that come out of it: the kernel itself then refuses
// memory and processes beyond the limit, at the very page and the very fork, where a guard would look every few ms.
// A process is put into a group once, when the interpreter starts, because that takes the kernel milliseconds; boxes are
// born in it. Not thread-safe; one box at a time.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "rewards/code/box.h"

namespace r1::code {

class BoxGroup {
 public:
  // Makes the group below this process's own. The arguments exist for tests.
  explicit BoxGroup(const std::filesystem::path& membership = "/proc/self/cgroup",
                    const std::filesystem::path& mount = "/sys/fs/cgroup");
  ~BoxGroup();  // removes it, once nothing is in it
  BoxGroup(const BoxGroup&) = delete;
  BoxGroup& operator=(const BoxGroup&) = delete;

  const std::string& problem() const { return problem_; }  // empty = in force
  bool add(pid_t pid);
  // For the next box, beyond what the interpreter itself has. False if the kernel refused.
  bool limit(const Limits& limits);
  bool hit_memory() const;  // since limit(): the kernel killed something for want of memory

 private:
  std::int64_t kills() const;
  std::filesystem::path memory_, pids_;  // the same folder in version 2
  bool v2_ = false;
  std::int64_t kills_before_ = 0;
  std::string problem_;
};

}  // namespace r1::code
