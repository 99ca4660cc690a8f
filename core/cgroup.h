// Limits that a container or service manager puts on this process (Linux control groups, versions 1 and 2).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace r1 {

// Cores of CPU time allowed (1.5 = one and a half); none if unlimited or unreadable. The tightest limit of the
// process's group and its ancestors counts. The arguments exist for tests. Thread-safe, throws nothing.
std::optional<double> cgroup_cpu_limit(const std::filesystem::path& membership = "/proc/self/cgroup",
                                       const std::filesystem::path& mount = "/sys/fs/cgroup");

// Bytes of memory allowed; none if unlimited or unreadable.
std::optional<std::int64_t> cgroup_memory_limit(const std::filesystem::path& membership = "/proc/self/cgroup",
                                                const std::filesystem::path& mount = "/sys/fs/cgroup");

}  // namespace r1
