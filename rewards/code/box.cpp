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

#include "core/error.h"
#include "rewards/code/box_child.h"
#include "rewards/code/box_internal.h"
#include "rewards/code/box_order.h"
#include "rewards/code/fd.h"
#include "rewards/code/isolation.h"
#include "rewards/code/tree_guard.h"
#include "rewards/code/unboxed.h"
#include "rewards/code/warm_pool.h"
#include "rewards/code/warm_protocol.h"

namespace r1::code {
namespace {

using Clock = std::chrono::steady_clock;

struct Watch {
  Outcome out;
  std::int64_t largest_kb = 0;  // the largest process, where the kernel's figure is the program's own
  bool started = false, ended = false, stopped = false;
  bool told = false;  // by process 1: everything of the program is dead
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
    w.out.cpu_ms = std::max(w.out.cpu_ms, report.cpu_us / 1000);
    w.largest_kb = report.largest_kb;
    w.told = true;
    if (w.stopped) return;
    const int s = report.status;
    w.out.end = WIFEXITED(s) ? End::kExited : End::kSignalled;
    w.out.status = WIFEXITED(s) ? WEXITSTATUS(s) : WTERMSIG(s);
    if (WIFSIGNALED(s) && WTERMSIG(s) == SIGSYS) w.out.end = End::kForbiddenCall;
    if (WIFSIGNALED(s) && WTERMSIG(s) == SIGXCPU) w.out.end = End::kCpuTime;
    if (WIFSIGNALED(s) && WTERMSIG(s) == SIGXFSZ) w.out.end = End::kOutput;
  }
}

void watch(const Process& box, const Limits& limits, const Pipe& out, const Pipe& err, const Pipe& report, Watch& w) {
  const std::size_t most = static_cast<std::size_t>(limits.output_kb) * 1024;
  TreeGuard guard(box);
  pollfd fds[] = {{report.read.get(), POLLIN, 0}, {out.read.get(), POLLIN, 0}, {err.read.get(), POLLIN, 0}};
  Clock::time_point next = Clock::now();
  const auto stop = [&](End end) {
    if (w.stopped || w.ended) return;
    w.stopped = true;
    w.out.end = end;
    syscall(SYS_pidfd_send_signal, box.pidfd.get(), SIGKILL, nullptr, 0);  // process 1 of the pid namespace: everything in it dies with it
  };
  // The report comes after the whole tree is dead, so the outputs end by themselves.
  while (fds[0].fd >= 0 || fds[1].fd >= 0 || fds[2].fd >= 0) {
    const int n = poll(fds, 3, 5);
    bool too_much = false;
    if (n > 0) {
      if (fds[1].revents && !take_output(fds[1].fd, w.out.output, most, too_much)) fds[1].fd = -1;
      if (fds[2].revents && !take_output(fds[2].fd, w.out.errors, most, too_much)) fds[2].fd = -1;
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
      if ((use.known && use.memory_kb > limits.memory_mb * 1024) || hit_memory(box)) stop(End::kMemory);
      if (use.known && use.cpu_ms > limits.cpu_ms) stop(End::kCpuTime);
      // At most a tenth of our own time goes into looking, however large the tree.
      next = Clock::now() + std::max<Clock::duration>(std::chrono::milliseconds(4), 9 * (Clock::now() - before));
    }
  }
}

// `python3 -I FILE`: what a warm interpreter can run.
bool is_python_file(const std::vector<std::string>& argv) {
  return argv.size() == 3 && argv[0] == "/usr/bin/python3" && argv[1] == "-I" && argv[2] == "main.py";
}

// A copy of this very process. The bare system call: glibc's fork would run handlers of other libraries in the copy.
int report_of_copy = -1;
Process clone_box(BoxFds fds, Pipe& go) {
  Process box;
  int pidfd = -1;
  const bool is_root = geteuid() == 0;
  box.pid = static_cast<pid_t>(syscall(SYS_clone, kBoxClone, nullptr, &pidfd, nullptr, nullptr));
  const auto fork_program = [] { return static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)); };
  if (box.pid == 0) {
    report_of_copy = fds.report;
    const Prepared prepared = prepare_box(go.read.get(), is_root, nullptr, [] { return report_of_copy; });
    execute(enter_box(prepared, fds, fork_program), fds);
  }
  box.pidfd = Fd(pidfd);
  return box;
}

// Until process 1, and with it the box, is gone. A warm interpreter's children are reaped by the kernel.
void wait_for(const Process& box, bool ours) {
  pollfd gone{box.pidfd.get(), POLLIN, 0};
  while (poll(&gone, 1, -1) < 0 && errno == EINTR) {
  }
  while (ours && waitpid(box.pid, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace

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

bool take_output(int fd, std::string& into, std::size_t limit, bool& too_much) {
  char buffer[65536];
  const ssize_t n = read(fd, buffer, sizeof buffer);
  if (n < 0) return errno == EINTR || errno == EAGAIN;
  if (n == 0) return false;
  const std::size_t room = limit - std::min(limit, into.size());
  into.append(buffer, std::min(room, static_cast<std::size_t>(n)));
  too_much = too_much || static_cast<std::size_t>(n) > room;
  return true;
}

Outcome run_unchecked(const Job& job, int landlock_abi) {
  Watch w;
  const auto internal = [&](const char* what) {
    w.out.end = End::kInternal;
    w.out.detail = message(what, ": ", std::strerror(errno));
    return w.out;
  };
  Pipe go, report, out, err;
  if (!go.open() || !report.open() || !out.open() || !err.open()) return internal("pipe");
  const Fd input = job.input_fd < 0 ? sealed_input(job.input) : Fd();
  if (job.input_fd < 0 && !input) return internal("stdin");
  Fd fetched;
  if (!job.fetch.empty()) {
    fetched = Fd(memfd_create("fetched", MFD_CLOEXEC));
    if (!fetched) return internal("memfd_create");
  }
  const bool python = job.warm && is_python_file(job.argv) && job.folders.empty();
  Fd order = write_order(job, landlock_abi, python);
  if (!order) return internal("memfd_create");
  BoxFds fds{order.get(), report.write.get(), job.input_fd >= 0 ? job.input_fd : input.get(),
             out.write.get(), err.write.get(), fetched.get(), job.asset_fd};

  Process box;
  box = start_warm(fds, job.limits, python, landlock_abi);
  const bool ours = box.pid < 0;
  if (ours) {
    if (python) {  // the same program by an interpreter of its own
      order = write_order(job, landlock_abi, false);
      if (!order) return internal("memfd_create");
      fds.order = order.get();
    }
    box = clone_box(fds, go);
  }
  if (box.pid < 0) return internal("clone with new namespaces");
  go.read.reset();
  report.write.reset();
  out.write.reset();
  err.write.reset();
  const bool mapped = !ours || map_ids(box.pid);
  const int map_error = errno;
  const char byte = mapped ? 1 : 0;
  if (ours) (void)!write(go.write.get(), &byte, 1);
  if (mapped) watch(box, job.limits, out, err, report, w);
  // Once process 1 has told that it alone is left, its own way out (the kernel takes its mounts apart) is nobody's wait.
  if (ours || !w.told) wait_for(box, ours);
  const bool memory_hit = hit_memory(box);
  end_warm(box);
  if (!mapped) {
    errno = map_error;
    return internal("id map");
  }
  w.out.wall_ms = w.elapsed_ms();
  if (python && !ours) w.out.memory_kb = std::max(w.out.memory_kb, w.largest_kb);
  const bool natural = w.out.end == End::kExited || w.out.end == End::kSignalled;
  if (natural && memory_hit) w.out.end = End::kMemory;
  if (natural && w.out.cpu_ms > job.limits.cpu_ms + 50) w.out.end = End::kCpuTime;  // passed between two looks
  if (natural && w.out.wall_ms > job.limits.wall_ms + 20) w.out.end = End::kWallTime;
  if (fetched && w.out.end == End::kExited) {
    lseek(fetched.get(), 0, SEEK_SET);
    bool too_much = false;
    while (take_output(fetched.get(), w.out.fetched, static_cast<std::size_t>(job.limits.file_mb) << 20, too_much)) {
    }
  }
  return w.out;
}

Outcome run_in_box(const Job& job) {
  if (!isolation_or_consent()) return run_unboxed(job);
  return run_unchecked(job, host_guarantees().landlock_abi);
}

}  // namespace r1::code
