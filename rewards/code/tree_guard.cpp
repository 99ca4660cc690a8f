#include "rewards/code/tree_guard.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace r1::code {
namespace {

// A short proc file, or empty: processes come and go between two reads.
std::string slurp(int dir, const std::string& path) {
  const int fd = openat(dir, path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  char buffer[4096];
  const ssize_t n = read(fd, buffer, sizeof buffer - 1);
  close(fd);
  return n > 0 ? std::string(buffer, static_cast<std::size_t>(n)) : std::string();
}

std::int64_t share_kb(int dir, const std::string& pid, std::int64_t fallback) {
  const std::string text = slurp(dir, pid + "/smaps_rollup");
  const std::size_t at = text.find("\nPss:");
  return at == std::string::npos ? fallback : std::strtoll(text.c_str() + at + 5, nullptr, 10);
}

}  // namespace

bool TreeGuard::open_box() {
  if (proc_) return true;
  const std::string root = "/proc/" + std::to_string(box_.pid) + "/root/";
  Fd proc(open((root + "proc").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  Fd work(open((root + "w").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  pollfd gone{box_.pidfd.get(), POLLIN, 0};
  if (!proc || !work || poll(&gone, 1, 0) != 0) return false;
  proc_ = std::move(proc);
  work_ = std::move(work);
  return true;
}

TreeUse TreeGuard::measure(std::int64_t memory_limit_kb) {
  static const std::int64_t page_kb = sysconf(_SC_PAGESIZE) / 1024, tick_ms = 1000 / sysconf(_SC_CLK_TCK);
  TreeUse use;
  if (!open_box()) return use;
  const int at = openat(proc_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* dir = at >= 0 ? fdopendir(at) : nullptr;
  if (!dir) {
    if (at >= 0) close(at);
    return use;
  }
  std::int64_t files_kb = 0, shares_kb = 0;
  struct statvfs fs;
  if (fstatvfs(work_.get(), &fs) == 0)
    files_kb = static_cast<std::int64_t>((fs.f_blocks - fs.f_bfree) * (fs.f_frsize / 1024));
  for (int pass = 0; pass < 2; ++pass) {
    rewinddir(dir);
    while (const dirent* entry = readdir(dir)) {
      if (entry->d_name[0] < '0' || entry->d_name[0] > '9') continue;
      const std::string pid = entry->d_name;
      const bool ours = pid == "1";  // process 1 is our own; its memory is a shared copy of the maker's
      if (pass == 0) {
        const std::string stat = slurp(at, pid + "/stat");
        const std::size_t name_end = stat.rfind(')');  // a program's name may hold anything
        if (name_end == std::string::npos) continue;
        use.known = true;
        long long t[4] = {}, rss = 0;
        std::sscanf(stat.c_str() + name_end + 1,
                    " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lld %lld %lld %lld %*d %*d %*d %*d %*u %*u %lld", &t[0],
                    &t[1], &t[2], &t[3], &rss);
        use.cpu_ms += ((ours ? 0 : t[0] + t[1]) + t[2] + t[3]) * tick_ms;
        if (!ours) use.memory_kb += rss * page_kb;
      } else if (!ours) {
        shares_kb += share_kb(at, pid, 0);
      }
    }
    if (pass == 0 && use.memory_kb + files_kb <= memory_limit_kb) break;
    if (pass == 1) use.memory_kb = shares_kb;
  }
  use.memory_kb += files_kb;
  closedir(dir);
  return use;
}

}  // namespace r1::code
