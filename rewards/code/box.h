// One program in one box: fresh user, mount, pid, network, ipc and uts namespaces, a root of our own with read-only
// toolchains, a seccomp allow list, Landlock, rlimits, and a guard that watches the whole process tree.
// Works as root and as an ordinary user. Thread-safe: every call makes a box of its own and leaves nothing behind.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace r1::code {

struct Limits {
  std::int64_t wall_ms = 10'000;
  std::int64_t cpu_ms = 5'000;    // user + system time of the whole tree
  std::int64_t memory_mb = 512;   // resident memory of the whole tree plus what it wrote to its tmpfs
  std::int64_t processes = 32;    // processes and threads at one time
  std::int64_t file_mb = 64;      // all files together; they live in memory
  std::int64_t output_kb = 1024;  // stdout and stderr, each
};

// Why the run ended, before anybody looks at its output.
enum class End : std::uint8_t {
  kExited, kSignalled, kWallTime, kCpuTime, kMemory, kOutput, kForbiddenCall,
  kInternal,  // the box itself failed: an alarm, never a judgement of the program
};

struct BoxFile {
  std::string name;  // plain file name, in the working directory
  std::string bytes;
  bool executable = false;
  bool link = false;  // a symbolic link to the path `bytes`
};

struct Job {
  std::vector<std::string> argv;  // argv[0] is an absolute path inside the box
  std::vector<BoxFile> files;
  std::string input;              // stdin; a sealed file, so it can be read again but not changed
  int input_fd = -1;              // stdin instead of `input`, if not negative: borrowed until the call returns
  // A sealed memfd that the program finds as descriptor 9 (kAssetFd), for what is too large to copy into every box; borrowed.
  // -1 = none.
  int asset_fd = -1;
  std::vector<std::string> folders;  // of the host, read-only, at the same place: what a toolchain keeps outside /usr
  std::string fetch;              // a file of the working directory to bring back after exit 0; empty = none
  Limits limits;
  // `/usr/bin/python3 -I main.py` runs in a copy of an interpreter that waits with its usual modules loaded; every box
  // still gets namespaces, files, walls and limits of its own. false: each run starts an interpreter. Where no warm one
  // can be had (see Guarantees), all runs do.
  bool warm = true;
};

struct Outcome {
  End end = End::kInternal;
  int status = 0;  // exit code, or signal number
  std::string output, errors, fetched;
  std::int64_t cpu_ms = 0, wall_ms = 0, memory_kb = 0;  // memory: the largest sum that the guard saw
  std::string detail;  // for kInternal: the step that failed
};

// Never throws for what the program does. Throws Error if this host cannot isolate (see isolation.h).
Outcome run_in_box(const Job& job);

}  // namespace r1::code
