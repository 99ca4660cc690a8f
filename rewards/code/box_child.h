// The part of a box that runs after clone(): only system calls, no allocation, since the caller may have other threads.
// It is linked into the library and into the module that a warm interpreter loads (warm_module.cpp).
#pragma once

#include <linux/filter.h>
#include <sys/types.h>

#include <cstdint>

namespace r1::code {

// What the box's process 1 tells its maker over a pipe that the program never holds.
struct BoxReport {
  enum Kind : std::uint8_t { kStarted, kEnded, kFailed } kind = kFailed;
  std::int32_t status = 0;  // kEnded: a wait status; kFailed: errno
  char step[24] = {};       // kFailed: what failed
  std::int64_t cpu_us = 0, largest_kb = 0;  // kEnded: time of the whole tree; resident size of its largest process
};

enum FileKind : std::uint64_t { kPlainFile, kExecutableFile, kLinkFile };

// How a box is to be made, in one block of memory: places are offsets from its begin, texts end with 0. The maker writes
// it into a memfd; whoever clones the box's process 1 never reads it, so nothing of one box can show up in the next.
struct BoxOrder {
  struct File {
    std::uint64_t name, data, size;
    std::uint64_t kind;  // of FileKind
  };
  std::uint64_t tmpfs_options;  // "size=64m,mode=755,..."
  std::uint64_t fetch;          // 0 = nothing
  std::uint64_t argv;           // texts one after another
  std::uint64_t argc;
  std::uint64_t envp, envc;     // likewise
  std::uint64_t files, file_count;
  std::uint64_t folders, folder_count;  // texts one after another
  std::uint64_t filter, filter_count;
  std::int64_t cpu_s, file_bytes, processes;
  std::int32_t landlock_abi;
  std::int32_t warm;            // the program is a Python file that the cloned interpreter runs: no execve

  const char* text(std::uint64_t at) const { return reinterpret_cast<const char*>(this) + at; }
};

// The descriptors of a box, in the order in which they travel to a warm interpreter.
struct BoxFds {
  int order = -1;   // the memfd with the BoxOrder
  int report = -1;  // BoxReports
  int in = -1, out = -1, err = -1;
  int fetch = -1;   // a memfd for the fetched file, or -1
  int asset = -1;   // Job::asset_fd, or -1
};
constexpr int kBoxFds = 7;
constexpr int kAssetFd = 9;
constexpr std::uint32_t kBoxUid = 1000;

// The process that cloned `pid` gives it its ids: inside one, outside `nobody` if we are root, else ourselves. False: errno.
bool map_ids(pid_t pid);

// The box's process 1 in two halves. The first needs no order, so that it can be done before there is one: waits for one byte 1 on
// `go` (ids are mapped), takes the box's ids and, unless fork_ahead is null, makes the file system up to what an order adds, for orders
// without folders alone, and the program's process: then it returns in both. `report`: where a failure is told; it is asked for only then.
struct Prepared {
  bool whole = false;
  pid_t program = 0;  // process 1 has its number, itself has 0
  int line = -1;      // between the two
};
Prepared prepare_box(int go, bool maker_is_root, pid_t (*fork_ahead)(), int (*report)());
// The second, in each of the processes that there are, returns only in the program's, behind every wall, with stdin, stdout and stderr
// in place; what is left is to run the program. fork_program() is like fork(), for boxes that have no such process yet. fds.report may
// have moved.
const BoxOrder& enter_box(const Prepared& prepared, BoxFds& fds, pid_t (*fork_program)());

// The last step of a program that is executed: argv of the order. Reports failure.
[[noreturn]] void execute(const BoxOrder& order, const BoxFds& fds);

// Forbids everything but reading the root and writing below /w, for this process and its children. 0 or errno.
int landlock_wall(int abi);

}  // namespace r1::code
