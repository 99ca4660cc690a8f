// These tests write and sync thousands of small files. In memory (/dev/shm) that takes no time; on a busy disk, minutes. What is
// tested is the order of operations, which is the same on both. TMPDIR, if set, wins.
#include <cstdlib>

#include <unistd.h>

namespace {
[[maybe_unused]] const bool kInMemory =
    std::getenv("TMPDIR") == nullptr && access("/dev/shm", W_OK) == 0 && setenv("TMPDIR", "/dev/shm", 0) == 0;
}  // namespace
