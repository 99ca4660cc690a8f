// The part of a box that runs after clone(): only system calls, no allocation, since the caller has other threads.
#pragma once

#include <linux/filter.h>

#include <cstdint>

namespace r1::code {

// What the box's process 1 tells its maker over a pipe that the program never holds.
struct BoxReport {
  enum Kind : std::uint8_t { kStarted, kEnded, kFailed } kind = kFailed;
  std::int32_t status = 0;  // kEnded: a wait status; kFailed: errno
  char step[24] = {};       // kFailed: what failed
};

// Prepared by the maker before clone(); all pointers stay valid in the copy.
struct BoxPlan {
  struct File {
    const char* path;
    const char* data;
    std::uint64_t size;
    bool executable;
  };
  const File* files;
  int file_count;
  char* const* argv;
  char* const* envp;
  const char* tmpfs_options;  // "size=64m,mode=755,..."
  const char* fetch;          // nullptr = nothing
  int go_fd;                  // one byte: ids are mapped
  int report_fd, stdin_fd, stdout_fd, stderr_fd, fetch_fd;
  bool set_groups;            // the maker is root: supplementary groups can and must go
  std::int64_t cpu_s, file_bytes, processes;
  sock_fprog filter;
  int landlock_abi;
};

constexpr std::uint32_t kBoxUid = 1000;

[[noreturn]] void box_main(const BoxPlan& plan);

// Forbids everything but reading the root and writing below /w, for this process and its children. 0 or errno.
int landlock_wall(int abi);

}  // namespace r1::code
