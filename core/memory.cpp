#include "core/memory.h"

#include <algorithm>
#include <fstream>
#include <string>

#include <unistd.h>

#include "core/cgroup.h"

namespace r1 {
namespace {

std::int64_t system_available(const std::filesystem::path& meminfo) {
  std::ifstream file(meminfo);
  for (std::string key, unit; file >> key;) {
    std::int64_t kib = 0;
    if (key == "MemAvailable:" && file >> kib) return kib * 1024;
    std::getline(file, unit);
  }
  return 0;
}

std::int64_t resident() {
  std::ifstream file("/proc/self/statm");
  std::int64_t total = 0, pages = 0;
  return file >> total >> pages ? pages * sysconf(_SC_PAGESIZE) : 0;
}

}  // namespace

std::int64_t available_memory(const std::filesystem::path& meminfo) {
  const std::int64_t system = system_available(meminfo);
  const auto limit = cgroup_memory_limit();
  if (!limit) return system;
  const std::int64_t left = std::max<std::int64_t>(*limit - resident(), 0);
  return system == 0 ? left : std::min(system, left);
}

}  // namespace r1
