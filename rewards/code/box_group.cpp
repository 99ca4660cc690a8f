#include "rewards/code/box_group.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>

#include "core/error.h"
#include "rewards/code/fd.h"

namespace r1::code {
namespace {

namespace fs = std::filesystem;

bool write_text(const fs::path& path, const std::string& text) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return fd && ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

std::string read_text(const fs::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// Controller -> this process's group; "" is version 2.
std::map<std::string, std::string> own_groups(const fs::path& membership) {
  std::map<std::string, std::string> found;
  std::ifstream file(membership);
  for (std::string line; std::getline(file, line);) {
    const std::size_t a = line.find(':'), b = line.find(':', a + 1);
    if (a == std::string::npos || b == std::string::npos) continue;
    std::stringstream names(line.substr(a + 1, b - a - 1));
    std::string path = line.substr(b + 1);
    path.erase(0, path.find_first_not_of('/') == std::string::npos ? path.size() : path.find_first_not_of('/'));
    if (a + 1 == b) found[""] = path;
    for (std::string name; std::getline(names, name, ',');) found[name] = path;
  }
  return found;
}

constexpr const char* kPrefix = "r1-box-";

// Groups of makers that were killed before they could tidy up.
void remove_stale(const fs::path& parent) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(parent, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.rfind(kPrefix, 0) != 0) continue;
    const pid_t maker = std::atoi(name.c_str() + std::strlen(kPrefix));
    if (maker > 0 && kill(maker, 0) != 0 && errno == ESRCH) rmdir(entry.path().c_str());
  }
}

fs::path make_group(const fs::path& parent) {
  static std::atomic<int> number = 0;
  remove_stale(parent);
  const fs::path group = parent / message(kPrefix, getpid(), "-", number++);
  return mkdir(group.c_str(), 0755) == 0 ? group : fs::path();
}

}  // namespace

BoxGroup::BoxGroup(const fs::path& membership, const fs::path& mount) {
  const auto own = own_groups(membership);
  v2_ = !(own.count("memory") && own.count("pids"));
  if (v2_ && !own.count("")) {
    problem_ = "this process is in no control group";
    return;
  }
  memory_ = make_group(v2_ ? mount / own.at("") : mount / "memory" / own.at("memory"));
  if (!memory_.empty()) pids_ = v2_ ? memory_ : make_group(mount / "pids" / own.at("pids"));
  if (memory_.empty() || pids_.empty()) problem_ = message("cannot make one: ", std::strerror(errno));
  else if (v2_ && (access((memory_ / "memory.max").c_str(), W_OK) != 0 || access((pids_ / "pids.max").c_str(), W_OK) != 0))
    problem_ = "the memory and pids controllers are not delegated to this process's group";
}

BoxGroup::~BoxGroup() {
  for (const fs::path& group : {memory_, pids_}) {
    if (group.empty()) continue;
    for (int i = 0; i < 200 && rmdir(group.c_str()) != 0 && errno == EBUSY; ++i)  // the last process is still leaving
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

bool BoxGroup::add(pid_t pid) {
  return write_text(memory_ / "cgroup.procs", std::to_string(pid)) &&
         (v2_ || write_text(pids_ / "cgroup.procs", std::to_string(pid)));
}

std::int64_t BoxGroup::kills() const {
  const std::string text = read_text(memory_ / (v2_ ? "memory.events" : "memory.oom_control"));
  const std::size_t at = text.find("oom_kill ");
  return at == std::string::npos ? 0 : std::strtoll(text.c_str() + at + 9, nullptr, 10);
}

bool BoxGroup::limit(const Limits& limits) {
  kills_before_ = kills();
  const std::int64_t now = std::strtoll(read_text(memory_ / (v2_ ? "memory.current" : "memory.usage_in_bytes")).c_str(), nullptr, 10);
  const std::string bytes = std::to_string(now + (limits.memory_mb << 20));
  if (v2_) (void)write_text(memory_ / "memory.swap.max", "0");
  // Beside the program's own: the interpreter, the box's process 1, the next box's two processes, and those of earlier boxes that are still
  // on their way out. RLIMIT_NPROC holds the program to its number.
  constexpr int kOurs = 16;
  return write_text(memory_ / (v2_ ? "memory.max" : "memory.limit_in_bytes"), bytes) &&
         write_text(pids_ / "pids.max", std::to_string(limits.processes + kOurs));
}

bool BoxGroup::hit_memory() const { return kills() > kills_before_; }

}  // namespace r1::code
