#include "core/cgroup.h"

#include <algorithm>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>

namespace r1 {
namespace {

namespace fs = std::filesystem;

// The group's folder under `base` and every ancestor up to `base`. In a container the membership file may name a
// path of the host that does not exist here; then only the ancestors that do exist (at least `base`) are asked.
void for_group_and_ancestors(const fs::path& base, const std::string& group, const std::function<void(const fs::path&)>& ask) {
  fs::path relative = fs::path(group).relative_path().lexically_normal();
  while (true) {
    ask(relative.empty() || relative == "." ? base : base / relative);
    if (relative.empty() || relative == ".") return;
    relative = relative.parent_path();
  }
}

bool has_controller(const std::string& list, const std::string& name) {
  std::istringstream in(list);
  for (std::string item; std::getline(in, item, ',');) {
    if (item == name) return true;
  }
  return false;
}

// Calls `v2` or `v1` with each folder that may hold a limit. Lines read "id:controllers:path"; version 2 has id 0
// and no controllers.
void for_folders(const fs::path& membership, const fs::path& mount, const std::string& controller,
                 const std::function<void(const fs::path&)>& v2, const std::function<void(const fs::path&)>& v1) {
  std::ifstream in(membership);
  for (std::string line; std::getline(in, line);) {
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1), group = line.substr(second + 1);
    if (controllers.empty()) {
      for_group_and_ancestors(mount, group, v2);
    } else if (has_controller(controllers, controller)) {
      std::error_code none;
      // Version 1 mounts a folder a controller, named by it or by the whole list.
      const fs::path own = mount / controller, listed = mount / controllers;
      for_group_and_ancestors(fs::exists(own, none) ? own : listed, group, v1);
    }
  }
}

template <class T>
void lower(std::optional<T>& best, T value) {
  best = best ? std::min(*best, value) : value;
}

}  // namespace

std::optional<double> cgroup_cpu_limit(const fs::path& membership, const fs::path& mount) {
  std::optional<double> best;
  const auto v2 = [&](const fs::path& folder) {
    std::ifstream in(folder / "cpu.max");
    std::string quota;
    double period = 0;
    if (in >> quota >> period && quota != "max" && period > 0) lower(best, std::atof(quota.c_str()) / period);
  };
  const auto v1 = [&](const fs::path& folder) {
    std::ifstream quota_in(folder / "cpu.cfs_quota_us"), period_in(folder / "cpu.cfs_period_us");
    double quota = 0, period = 0;
    if (quota_in >> quota && period_in >> period && quota > 0 && period > 0) lower(best, quota / period);
  };
  for_folders(membership, mount, "cpu", v2, v1);
  return best;
}

std::optional<std::int64_t> cgroup_memory_limit(const fs::path& membership, const fs::path& mount) {
  std::optional<std::int64_t> best;
  // Version 1 writes a number near 2^63 for "unlimited".
  constexpr std::int64_t kUnlimited = std::int64_t{1} << 60;
  const auto read = [&](const fs::path& file) {
    std::ifstream in(file);
    std::int64_t bytes = 0;
    if (in >> bytes && bytes > 0 && bytes < kUnlimited) lower(best, bytes);
  };
  for_folders(membership, mount, "memory", [&](const fs::path& folder) { read(folder / "memory.max"); },
              [&](const fs::path& folder) { read(folder / "memory.limit_in_bytes"); });
  return best;
}

}  // namespace r1
