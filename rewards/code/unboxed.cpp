#include "rewards/code/unboxed.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "core/error.h"
#include "rewards/code/box_child.h"
#include "rewards/code/box_internal.h"
#include "rewards/code/fd.h"
#include "rewards/code/seccomp_filter.h"

namespace r1::code {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
constexpr unsigned kNobody = 65534;

struct Folder {
  fs::path path;
  Folder() {
    std::string name = (fs::temp_directory_path() / "r1-unboxed-XXXXXX").string();
    if (mkdtemp(name.data())) path = name;
  }
  ~Folder() {
    std::error_code ignored;
    if (!path.empty()) fs::remove_all(path, ignored);
  }
};

struct Plan {
  const char* folder;
  char* const* argv;
  char* const* envp;
  int in, out, err, report, asset;
  bool root;
  const Limits* limits;
  sock_fprog filter;
};

void limit(int what, std::int64_t value) {
  const rlimit both{static_cast<rlim_t>(value), static_cast<rlim_t>(value)};
  (void)setrlimit(static_cast<__rlimit_resource>(what), &both);
}

[[noreturn]] void be_program(const Plan& p) {
  setsid();
  for (int s = 1; s < 65; ++s)
    if (s != SIGKILL && s != SIGSTOP) signal(s, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (dup2(p.in, 0) < 0 || dup2(p.out, 1) < 0 || dup2(p.err, 2) < 0) _exit(126);
  if (p.asset >= 0 && p.asset != kAssetFd && dup2(p.asset, kAssetFd) < 0) _exit(126);
  if (p.asset == kAssetFd) (void)fcntl(kAssetFd, F_SETFD, 0);
  if (p.asset >= 0) (void)syscall(SYS_close_range, 3, kAssetFd - 1, 0);
  (void)syscall(SYS_close_range, p.asset >= 0 ? kAssetFd + 1 : 3, ~0u, 0);
  if (chdir(p.folder) != 0) _exit(126);
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_CPU, p.limits->cpu_ms / 1000 + 1);
  limit(RLIMIT_FSIZE, p.limits->file_mb << 20);
  limit(RLIMIT_NOFILE, 256);
  limit(RLIMIT_DATA, p.limits->memory_mb << 20);
  if (p.root && (syscall(SYS_setgroups, 0, nullptr) != 0 || syscall(SYS_setresgid, kNobody, kNobody, kNobody) != 0 ||
                 syscall(SYS_setresuid, kNobody, kNobody, kNobody) != 0))
    _exit(126);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p.filter, 0, 0) != 0) _exit(126);
  execve(p.argv[0], p.argv, p.envp);
  _exit(127);
}

// Ends every descendant: whatever loses its parent becomes a child of this subreaper.
void end_children() {
  const std::string mine = "/proc/self/task/" + std::to_string(getpid()) + "/children";
  for (int round = 0; round < 1000; ++round) {
    char text[4096] = {};
    const int fd = open(mine.c_str(), O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0) close(fd);
    for (char* at = text; n > 0 && *at;) {
      const long pid = std::strtol(at, &at, 10);
      if (pid > 0) kill(static_cast<pid_t>(pid), SIGKILL);
      while (*at == ' ') ++at;
    }
    while (waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    if (waitpid(-1, nullptr, WNOHANG) < 0 && errno == ECHILD) return;
    usleep(1000);
  }
}

// Waits for the program or for SIGTERM of the maker, then leaves no descendant. Tells the wait status.
[[noreturn]] void supervise(const Plan& p) {
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  setsid();
  sigset_t wanted;
  sigemptyset(&wanted);
  sigaddset(&wanted, SIGCHLD);
  sigaddset(&wanted, SIGTERM);
  sigprocmask(SIG_SETMASK, &wanted, nullptr);
  signal(SIGCHLD, SIG_DFL);
  const pid_t program = fork();
  if (program == 0) be_program(p);
  close(p.in);
  close(p.out);
  close(p.err);
  int result[2] = {-1, 0};  // wait status, ms of CPU
  for (int status = 0; program > 0 && result[0] < 0;) {
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
      if (pid == program) result[0] = status;
    if (result[0] >= 0) break;
    int got = 0;
    if (sigwait(&wanted, &got) == 0 && got == SIGTERM) break;
  }
  end_children();
  rusage use{};
  getrusage(RUSAGE_CHILDREN, &use);
  result[1] = static_cast<int>((use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1000 + (use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1000);
  (void)!write(p.report, result, sizeof result);
  _exit(0);
}

}  // namespace

Outcome run_unboxed(const Job& job) {
  Outcome o;
  const auto internal = [&](const char* what) {
    o.detail = message(what, ": ", std::strerror(errno));
    return o;
  };
  const Folder folder;
  if (folder.path.empty()) return internal("temporary folder");
  const bool root = geteuid() == 0;
  const auto ours = [&](const fs::path& path, bool executable) {
    return chmod(path.c_str(), executable ? 0700 : 0600) == 0 && (!root || chown(path.c_str(), kNobody, kNobody) == 0);
  };
  if (!ours(folder.path, true)) return internal("temporary folder");
  for (const BoxFile& f : job.files) {
    R1_CHECK(!f.name.empty() && f.name.find('/') == std::string::npos && f.name != "..", "file name ", f.name);
    if (f.link) {
      if (symlink(f.bytes.c_str(), (folder.path / f.name).c_str()) != 0) return internal("link files");
      continue;
    }
    const Fd fd(open((folder.path / f.name).c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600));
    if (!fd || ::write(fd.get(), f.bytes.data(), f.bytes.size()) != static_cast<ssize_t>(f.bytes.size())) return internal("write files");
    if (!ours(folder.path / f.name, f.executable)) return internal("write files");
  }
  const std::string inside = "/w/box/", here = folder.path.string() + "/";
  std::vector<std::string> words = job.argv, environment = box_environment();
  for (std::string& w : words)
    if (w.rfind(inside, 0) == 0) w = here + w.substr(inside.size());
  for (std::string& e : environment) {
    if (e.rfind("HOME=", 0) == 0) e = "HOME=" + here;
    if (e.rfind("TMPDIR=", 0) == 0) e = "TMPDIR=" + here;
  }
  std::vector<char*> argv, envp;
  for (std::string& w : words) argv.push_back(w.data());
  for (std::string& e : environment) envp.push_back(e.data());
  argv.push_back(nullptr);
  envp.push_back(nullptr);

  Pipe out, err, report;
  const Fd input = job.input_fd < 0 ? sealed_input(job.input) : Fd();
  if (!out.open() || !err.open() || !report.open() || (job.input_fd < 0 && !input)) return internal("pipe");
  const std::vector<sock_filter>& filter = program_filter();
  const Plan plan{folder.path.c_str(), argv.data(), envp.data(), job.input_fd >= 0 ? job.input_fd : input.get(),
                  out.write.get(), err.write.get(), report.write.get(), job.asset_fd, root, &job.limits,
                  {static_cast<unsigned short>(filter.size()), const_cast<sock_filter*>(filter.data())}};
  const Clock::time_point begin = Clock::now();
  const pid_t pid = fork();
  if (pid < 0) return internal("fork");
  if (pid == 0) supervise(plan);
  out.write.reset();
  err.write.reset();
  report.write.reset();

  const std::size_t most = static_cast<std::size_t>(job.limits.output_kb) * 1024;
  pollfd fds[] = {{report.read.get(), POLLIN, 0}, {out.read.get(), POLLIN, 0}, {err.read.get(), POLLIN, 0}};
  int result[2] = {-1, 0};
  bool stopped = false;
  const auto elapsed = [&] { return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin).count(); };
  const auto stop = [&](End end) {
    if (stopped) return;
    stopped = true;
    o.end = end;
    kill(pid, SIGTERM);
  };
  while (fds[0].fd >= 0 || fds[1].fd >= 0 || fds[2].fd >= 0) {
    bool too_much = false;
    if (poll(fds, 3, 20) > 0) {
      if (fds[1].revents && !take_output(fds[1].fd, o.output, most, too_much)) fds[1].fd = -1;
      if (fds[2].revents && !take_output(fds[2].fd, o.errors, most, too_much)) fds[2].fd = -1;
      if (fds[0].revents) {
        if (read(fds[0].fd, result, sizeof result) != sizeof result) result[0] = -1;
        fds[0].fd = -1;
      }
    }
    if (too_much) stop(End::kOutput);
    if (elapsed() > job.limits.wall_ms) stop(End::kWallTime);
  }
  while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  o.wall_ms = elapsed();
  o.cpu_ms = result[1];
  if (stopped) return o;
  if (result[0] < 0) return internal("the supervisor died");
  const int s = result[0];
  o.end = WIFEXITED(s) ? End::kExited : End::kSignalled;
  o.status = WIFEXITED(s) ? WEXITSTATUS(s) : WTERMSIG(s);
  if (WIFSIGNALED(s) && o.status == SIGSYS) o.end = End::kForbiddenCall;
  if (WIFSIGNALED(s) && o.status == SIGXFSZ) o.end = End::kOutput;
  if ((WIFSIGNALED(s) && o.status == SIGXCPU) || o.cpu_ms > job.limits.cpu_ms + 50) o.end = End::kCpuTime;
  if (!job.fetch.empty() && o.end == End::kExited && o.status == 0) {
    const Fd file(open((folder.path / job.fetch).c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
    struct stat st;
    bool too_much = false;
    while (file && fstat(file.get(), &st) == 0 && S_ISREG(st.st_mode) &&
           take_output(file.get(), o.fetched, static_cast<std::size_t>(job.limits.file_mb) << 20, too_much)) {
    }
  }
  return o;
}

}  // namespace r1::code
