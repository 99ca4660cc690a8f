#include "rewards/code/warm_pool.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "core/error.h"
#include "rewards/code/box_group.h"
#include "rewards/code/box_internal.h"
#include "rewards/code/order_line.h"
#include "rewards/code/warm_image.h"
#include "rewards/code/warm_protocol.h"

namespace r1::code {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kStartMs = 30'000;  // a machine under heavy load; 50 ms otherwise
constexpr const char* kPython = "/usr/bin/python3";

}  // namespace

class Interpreter {
 public:
  Interpreter(bool python, bool share_net) : python_(python), share_net_(share_net) { start(); }
  ~Interpreter() {
    // It may not see the line close: whatever this process forked meanwhile holds a copy of its end.
    if (pid_ > 0 && owner_ == getpid()) {
      kill(pid_, SIGKILL);
      while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
      }
    }
  }
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  bool lost() const { return lost_; }
  bool python() const { return python_; }
  bool share_net() const { return share_net_; }
  const std::string& problem() const { return problem_; }

  std::string group_problem() const { return group_.problem(); }
  bool hit_memory() const { return group_.problem().empty() && group_.hit_memory(); }

  Process order(const BoxFds& fds, const Limits& limits) {
    Process box;
    WarmReply answer;
    if (group_.problem().empty() && !group_.limit(limits)) {
      problem_ = message("control group: ", std::strerror(errno));
    } else if (!send_order(control_.get(), static_cast<std::uint8_t>((fds.fetch >= 0 ? kWithFetch : 0) | (fds.asset >= 0 ? kWithAsset : 0)), fds) ||
               !receive(answer, kStartMs, &box.pidfd)) {
      problem_ = "it went away";
      lost_ = true;
    } else if (answer.pid > 0 && box.pidfd) {
      box.pid = answer.pid;
    } else {
      problem_ = message("clone: ", std::strerror(answer.error));
    }
    return box;
  }

 private:
  void start() {
    const auto failed = [&](const char* step) { problem_ = message(step, ": ", std::strerror(errno)); };
    if (python_ && access(kPython, X_OK) != 0) return failed(kPython);
    int line[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, line) != 0) return failed("socketpair");
    control_ = Fd(line[0]);
    Fd theirs(line[1]);
    const Fd self(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
    if (!self) return failed("pidfd_open");
    const Fd module(memfd_create("r1-warm-module", MFD_CLOEXEC));
    const std::string_view bytes = python_ ? warm_module() : box_launcher();
    if (!module || write(module.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
      return failed("memfd_create");
    const Fd words(memfd_create("r1-warm-stderr", MFD_CLOEXEC));
    const Fd null(open("/dev/null", O_RDWR | O_CLOEXEC));
    if (!words || !null) return failed("/dev/null");
    spawn({null.get(), null.get(), words.get(), theirs.get(), self.get(), module.get()});
    if (pid_ < 0) return failed("fork");
    if (group_.problem().empty() && !group_.add(pid_)) return failed("control group");
    theirs.reset();  // else the line would not end with the interpreter
    WarmReply hello;
    const std::uint8_t settings = share_net_ ? kShareNet : 0;
    if (receive(hello, kStartMs) && hello.pid == 0 && ::send(control_.get(), &settings, 1, MSG_NOSIGNAL) == 1) return;
    char said[400];
    const ssize_t n = pread(words.get(), said, sizeof said, 0);
    problem_ = message(python_ ? kPython : "the launcher", " did not come up", n > 0 ? ": " + std::string(said, static_cast<std::size_t>(n)) : "");
  }

  // Descriptors 0, 1, 2, ... of the new process. vfork, since this process may be large.
  void spawn(std::vector<int> fds) {
    std::vector<std::string> environment = box_environment();
    environment.insert(environment.end(), {"PYTHONSAFEPATH=1", "PYTHONNOUSERSITE=1", "LD_BIND_NOW=1"});
    std::vector<char*> envp;
    for (std::string& e : environment) envp.push_back(e.data());
    envp.push_back(nullptr);
    const char* argv[] = {python_ ? kPython : "r1-box-launcher", python_ ? "-s" : nullptr, "-c", warm_script(), nullptr};
    std::vector<Fd> high;  // away from the places they are to take
    for (int& fd : fds) fd = high.emplace_back(fcntl(fd, F_DUPFD_CLOEXEC, 32)).get();
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const pid_t pid = vfork();
    if (pid == 0) {
      for (int s = 1; s < 65; ++s)
        if (s != SIGKILL && s != SIGSTOP) signal(s, SIG_DFL);
      sigset_t none;
      sigemptyset(&none);
      sigprocmask(SIG_SETMASK, &none, nullptr);
      for (std::size_t i = 0; i < fds.size(); ++i)
        if (dup2(fds[i], static_cast<int>(i)) < 0) _exit(126);
      (void)syscall(SYS_close_range, static_cast<unsigned>(fds.size()), ~0u, 0);
      // The kernel lays memory out for the stack that is allowed at this moment; boxes allow it later.
      rlimit stack{};
      getrlimit(RLIMIT_STACK, &stack);
      stack.rlim_cur = std::min<rlim_t>(256 << 20, stack.rlim_max);
      setrlimit(RLIMIT_STACK, &stack);
      setsid();  // a terminal's Ctrl-C is the maker's business
      if (chdir("/") != 0) _exit(126);
      // A launcher is the bytes behind descriptor 5.
      execve(python_ ? kPython : "/proc/self/fd/5", const_cast<char* const*>(argv), envp.data());
      _exit(127);
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    pid_ = pid;
  }

  bool receive(WarmReply& answer, int wait_ms, Fd* pidfd = nullptr) {
    pollfd p{control_.get(), POLLIN, 0};
    int n;
    while ((n = poll(&p, 1, wait_ms)) < 0 && errno == EINTR) {
    }
    if (n <= 0) return false;
    iovec data{&answer, sizeof answer};
    alignas(cmsghdr) char space[CMSG_SPACE(sizeof(int))];
    msghdr m{};
    m.msg_iov = &data;
    m.msg_iovlen = 1;
    m.msg_control = space;
    m.msg_controllen = sizeof space;
    if (recvmsg(control_.get(), &m, MSG_CMSG_CLOEXEC) != sizeof answer) return false;
    const cmsghdr* c = CMSG_FIRSTHDR(&m);
    if (!c || c->cmsg_type != SCM_RIGHTS || !pidfd) return true;
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(c), sizeof fd);
    *pidfd = Fd(fd);
    return true;
  }

  const bool python_, share_net_;
  BoxGroup group_;  // outlives the process in it
  Fd control_;
  pid_t pid_ = -1;
  const pid_t owner_ = getpid();
  std::string problem_;
  bool lost_ = false;
};

namespace {

class Pool {
 public:
  Pool(bool python, bool share_net) : python_(python), share_net_(share_net) {}
  const pid_t owner = getpid();

  std::shared_ptr<Interpreter> take() {
    {
      const std::scoped_lock lock(mutex_);
      if (!free_.empty()) {
        std::shared_ptr<Interpreter> one = std::move(free_.back());
        free_.pop_back();
        return one;
      }
      if (Clock::now() < not_before_) return nullptr;
    }
    auto one = std::make_shared<Interpreter>(python_, share_net_);
    const std::scoped_lock lock(mutex_);
    problem_ = one->problem();
    group_problem_ = one->group_problem();
    if (problem_.empty()) return one;
    not_before_ = Clock::now() + std::chrono::seconds(10);  // what does not come up is not tried for every box
    return nullptr;
  }

  void give(std::shared_ptr<Interpreter> one) {
    const std::scoped_lock lock(mutex_);
    if (one->problem().empty() && free_.size() < most_idle_) free_.push_back(std::move(one));
  }

  std::string problem(bool of_group) {
    const std::scoped_lock lock(mutex_);
    return of_group ? group_problem_ : problem_;
  }

 private:
  const bool python_, share_net_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<Interpreter>> free_;
  const std::size_t most_idle_ = std::clamp(2 * std::thread::hardware_concurrency(), 4u, 128u);
  std::string problem_, group_problem_;
  Clock::time_point not_before_;
};

Pool& pool(bool python, bool share_net) {
  static std::mutex making;
  static std::unique_ptr<Pool> pools[2][2];
  const std::scoped_lock lock(making);
  std::unique_ptr<Pool>& one = pools[python][share_net];
  if (one && one->owner != getpid()) (void)one.release();  // a fork's copy: its locks may be held, its lines are not ours
  if (!one) one = std::make_unique<Pool>(python, share_net);
  return *one;
}

// From ABI 6 on Landlock keeps abstract sockets of other boxes away, even of those that were there before.
bool shares_net(int landlock_abi) { return geteuid() == 0 && landlock_abi >= 6; }

}  // namespace

Process start_warm(const BoxFds& fds, const Limits& limits, bool python, int landlock_abi) {
  const bool share_net = shares_net(landlock_abi);
  // Idle interpreters may have been killed, for example for memory, all of them; then a new one comes up.
  for (int attempt = 0; attempt < 200; ++attempt) {
    std::shared_ptr<Interpreter> one = pool(python, share_net).take();
    if (!one) break;
    Process box = one->order(fds, limits);
    if (box.pid < 0 && one->lost()) continue;
    if (box.pid < 0) break;
    box.from = std::move(one);
    return box;
  }
  return {};
}

bool hit_memory(const Process& box) { return box.from && box.from->hit_memory(); }

void end_warm(Process& box) {
  if (box.from) pool(box.from->python(), box.from->share_net()).give(std::move(box.from));
}

std::string warm_problem(int landlock_abi) {
  Pool& python = pool(true, shares_net(landlock_abi));
  if (std::shared_ptr<Interpreter> one = python.take()) python.give(std::move(one));
  return python.problem(false);
}

std::string group_problem(int landlock_abi) {
  if (const std::string problem = warm_problem(landlock_abi); !problem.empty()) return "no interpreter: " + problem;
  return pool(true, shares_net(landlock_abi)).problem(true);
}

}  // namespace r1::code
