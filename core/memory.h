// Memory of this machine.
#pragma once

#include <cstdint>
#include <filesystem>

namespace r1 {

// Bytes that this process may still take: the smaller of what the system has available and what the control group's limit
// leaves. 0 if neither can be read. The argument exists for tests. Thread-safe, throws nothing.
std::int64_t available_memory(const std::filesystem::path& meminfo = "/proc/meminfo");

}  // namespace r1
