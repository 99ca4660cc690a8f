#include "rewards/code/box.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "rewards/code/box_child.h"
#include "rewards/code/box_internal.h"
#include "rewards/code/isolation.h"
#include "rewards/code/seccomp_filter.h"
#include "rewards/code/tree_guard.h"

namespace r1::code {
namespace {

using Clock = std::chrono::steady_clock;

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
  Fd& operator=(Fd&& o) noexcept {
    std::swap(fd_, o.fd_);
    return *this;
  }
  ~Fd() { reset(); }
  void reset() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }
  int get() const { return fd_; }

 private:
  int fd_ = -1;
};

struct Pipe {
  Fd read, write;
  bool open() {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) return false;
    read = Fd(fds[0]);
    write = Fd(fds[1]);
    return true;
  }
};

bool write_text(const std::string& path, const std::string& text) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return fd.get() >= 0 && ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

// One id inside, one outside: `nobody` when we are root, else ourselves. Inside there is no id 0.
bool map_ids(pid_t pid) {
  constexpr unsigned kNobody = 65534;
  const bool root = geteuid() == 0;
  const std::string dir = "/proc/" + std::to_string(pid);
  if (!root && !write_text(dir + "/setgroups", "deny")) return false;
  return write_text(dir + "/uid_map", message(kBoxUid, ' ', root ? kNobody : geteuid(), " 1")) &&
         write_text(dir + "/gid_map", message(kBoxUid, ' ', root ? kNobody : getegid(), " 1"));
}

// stdin as a sealed file: no writer thread, no SIGPIPE if the program does not read it.
Fd sealed_input(const std::string& text) {
  Fd fd(memfd_create("stdin", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  for (std::size_t at = 0; fd.get() >= 0 && at < text.size();) {
    const ssize_t n = ::write(fd.get(), text.data() + at, text.size() - at);
    if (n <= 0) return Fd();
    at += static_cast<std::size_t>(n);
  }
  if (fd.get() < 0 || lseek(fd.get(), 0, SEEK_SET) != 0 ||
      fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0)
    return Fd();
  return fd;
}

// Reads what is there. False at the end of the stream.
bool take(int fd, std::string& into, std::size_t limit, bool& too_much) {
  char buffer[65536];
  const ssize_t n = read(fd, buffer, sizeof buffer);
  if (n < 0) return errno == EINTR || errno == EAGAIN;
  if (n == 0) return false;
  const std::size_t room = limit - std::min(limit, into.size());
  into.append(buffer, std::min(room, static_cast<std::size_t>(n)));
  too_much = too_much || static_cast<std::size_t>(n) > room;
  return true;
}

struct Watch {
  Outcome out;
  bool started = false, ended = false, stopped = false;
  Clock::time_point begin = Clock::now();
  std::int64_t elapsed_ms() const {
    return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin).count();
  }
};

void read_report(int fd, Watch& w) {
  BoxReport report;
  if (read(fd, &report, sizeof report) != sizeof report) {
    w.ended = true;
    if (!w.stopped) w.out.detail = w.started ? "the box died" : "the box died before it started";
    return;
  }
  if (report.kind == BoxReport::kFailed) {
    report.step[sizeof report.step - 1] = 0;
    w.out.detail = message(report.step, ": ", std::strerror(report.status));
    w.ended = w.stopped = true;
    w.out.end = End::kInternal;
  } else if (report.kind == BoxReport::kStarted) {
    w.started = true;
    w.begin = Clock::now();
  } else {
    w.ended = true;
    if (w.stopped) return;
    const int s = report.status;
    w.out.end = WIFEXITED(s) ? End::kExited : End::kSignalled;
    w.out.status = WIFEXITED(s) ? WEXITSTATUS(s) : WTERMSIG(s);
    if (WIFSIGNALED(s) && WTERMSIG(s) == SIGSYS) w.out.end = End::kForbiddenCall;
    if (WIFSIGNALED(s) && WTERMSIG(s) == SIGXCPU) w.out.end = End::kCpuTime;
    if (WIFSIGNALED(s) && WTERMSIG(s) == SIGXFSZ) w.out.end = End::kOutput;
  }
}

void watch(pid_t pid, const Limits& limits, const Pipe& out, const Pipe& err, const Pipe& report, Watch& w) {
  const std::size_t most = static_cast<std::size_t>(limits.output_kb) * 1024;
  const TreeGuard guard(pid);
  pollfd fds[] = {{report.read.get(), POLLIN, 0}, {out.read.get(), POLLIN, 0}, {err.read.get(), POLLIN, 0}};
  Clock::time_point next = Clock::now();
  const auto stop = [&](End end) {
    if (w.stopped || w.ended) return;
    w.stopped = true;
    w.out.end = end;
    kill(pid, SIGKILL);  // process 1 of the pid namespace: everything in it dies with it
  };
  // The report comes after the whole tree is dead, so the outputs end by themselves.
  while (fds[0].fd >= 0 || fds[1].fd >= 0 || fds[2].fd >= 0) {
    const int n = poll(fds, 3, 5);
    bool too_much = false;
    if (n > 0) {
      if (fds[1].revents && !take(fds[1].fd, w.out.output, most, too_much)) fds[1].fd = -1;
      if (fds[2].revents && !take(fds[2].fd, w.out.errors, most, too_much)) fds[2].fd = -1;
      if (too_much) {
        stop(End::kOutput);
        if (w.ended && w.out.end == End::kExited) w.out.end = End::kOutput;
      }
      if (fds[0].revents) {
        read_report(fds[0].fd, w);
        if (w.ended) fds[0].fd = -1;
      }
    }
    if (w.ended || w.stopped) continue;
    const std::int64_t elapsed = w.elapsed_ms();
    if (elapsed > limits.wall_ms + (w.started ? 0 : 10'000)) stop(w.started ? End::kWallTime : End::kInternal);
    if (w.started && Clock::now() >= next) {
      const Clock::time_point before = Clock::now();
      const TreeUse use = guard.measure(limits.memory_mb * 1024);
      w.out.memory_kb = std::max(w.out.memory_kb, use.memory_kb);
      w.out.cpu_ms = std::max(w.out.cpu_ms, use.cpu_ms);
      if (use.known && use.memory_kb > limits.memory_mb * 1024) stop(End::kMemory);
      if (use.known && use.cpu_ms > limits.cpu_ms) stop(End::kCpuTime);
      // At most a tenth of our own time goes into looking, however large the tree.
      next = Clock::now() + std::max<Clock::duration>(std::chrono::milliseconds(4), 9 * (Clock::now() - before));
    }
  }
}

}  // namespace

Outcome run_unchecked(const Job& job, int landlock_abi) {
  Watch w;
  const auto internal = [&](const char* what) {
    w.out.detail = message(what, ": ", std::strerror(errno));
    return w.out;
  };
  Pipe go, report, out, err;
  if (!go.open() || !report.open() || !out.open() || !err.open()) return internal("pipe");
  const Fd input = sealed_input(job.input);
  if (input.get() < 0) return internal("stdin");
  Fd fetched;
  if (!job.fetch.empty()) {
    fetched = Fd(memfd_create("fetched", MFD_CLOEXEC));
    if (fetched.get() < 0) return internal("memfd_create");
  }

  std::vector<std::string> environment = {"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/w/box", "TMPDIR=/w/tmp", "LANG=C.UTF-8",
                                          "PYTHONDONTWRITEBYTECODE=1", "PYTHONHASHSEED=0", "OMP_NUM_THREADS=1",
                                          "OPENBLAS_NUM_THREADS=1", "UV_USE_IO_URING=0"};
  std::vector<char*> argv, envp;
  for (const std::string& a : job.argv) argv.push_back(const_cast<char*>(a.c_str()));
  for (std::string& e : environment) envp.push_back(e.data());
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  std::vector<BoxPlan::File> files;
  for (const BoxFile& f : job.files) {
    R1_CHECK(!f.name.empty() && f.name.find('/') == std::string::npos && f.name != "..", "file name ", f.name);
    files.push_back({f.name.c_str(), f.bytes.data(), f.bytes.size(), f.executable});
  }
  const std::string tmpfs = message("size=", job.limits.file_mb, "m,nr_inodes=20000,mode=755");
  const std::vector<sock_filter>& filter = program_filter();

  BoxPlan plan{};
  plan.files = files.data();
  plan.file_count = static_cast<int>(files.size());
  plan.argv = argv.data();
  plan.envp = envp.data();
  plan.tmpfs_options = tmpfs.c_str();
  plan.fetch = job.fetch.empty() ? nullptr : job.fetch.c_str();
  plan.go_fd = go.read.get();
  plan.report_fd = report.write.get();
  plan.stdin_fd = job.input_fd >= 0 ? job.input_fd : input.get();
  plan.stdout_fd = out.write.get();
  plan.stderr_fd = err.write.get();
  plan.fetch_fd = fetched.get();
  plan.set_groups = geteuid() == 0;
  plan.cpu_s = job.limits.cpu_ms / 1000 + 1;
  plan.file_bytes = job.limits.file_mb << 20;
  plan.processes = job.limits.processes;
  plan.filter = {static_cast<unsigned short>(filter.size()), const_cast<sock_filter*>(filter.data())};
  plan.landlock_abi = landlock_abi;

  // The bare system call: glibc's fork would run handlers of other libraries in the copy.
  const pid_t pid = static_cast<pid_t>(syscall(
      SYS_clone, SIGCHLD | CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS, nullptr,
      nullptr, nullptr, nullptr));
  if (pid < 0) return internal("clone with new namespaces");
  if (pid == 0) box_main(plan);
  go.read.reset();
  report.write.reset();
  out.write.reset();
  err.write.reset();
  const bool mapped = map_ids(pid);
  const int map_error = errno;
  const char byte = mapped ? 1 : 0;
  (void)!write(go.write.get(), &byte, 1);
  if (mapped) watch(pid, job.limits, out, err, report, w);
  rusage usage{};
  int status = 0;
  while (wait4(pid, &status, 0, &usage) < 0 && errno == EINTR) {
  }
  if (!mapped) {
    errno = map_error;
    return internal("id map");
  }
  w.out.wall_ms = w.elapsed_ms();
  const auto ms = [](const timeval& t) { return static_cast<std::int64_t>(t.tv_sec) * 1000 + t.tv_usec / 1000; };
  w.out.cpu_ms = std::max(w.out.cpu_ms, ms(usage.ru_utime) + ms(usage.ru_stime));
  const bool natural = w.out.end == End::kExited || w.out.end == End::kSignalled;
  if (natural && w.out.cpu_ms > job.limits.cpu_ms + 50) w.out.end = End::kCpuTime;  // passed between two looks
  if (natural && w.out.wall_ms > job.limits.wall_ms + 20) w.out.end = End::kWallTime;
  if (fetched.get() >= 0 && w.out.end == End::kExited) {
    lseek(fetched.get(), 0, SEEK_SET);
    bool too_much = false;
    while (take(fetched.get(), w.out.fetched, static_cast<std::size_t>(plan.file_bytes), too_much)) {
    }
  }
  return w.out;
}

Outcome run_in_box(const Job& job) {
  require_isolation();
  return run_unchecked(job, host_guarantees().landlock_abi);
}

}  // namespace r1::code
