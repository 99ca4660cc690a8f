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
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "core/error.h"
#include "rewards/code/box_internal.h"
#include "rewards/code/warm_image.h"
#include "rewards/code/warm_protocol.h"

namespace r1::code {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kStartMs = 30'000;  // a machine under heavy load; 50 ms otherwise
constexpr const char* kPython = "/usr/bin/python3";

class Interpreter {
 public:
  Interpreter() { start(); }
  ~Interpreter() {
    control_.reset();  // its end of the line closes: it leaves
    if (pid_ > 0 && owner_ == getpid()) {
      if (!problem_.empty()) kill(pid_, SIGKILL);
      while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
      }
    }
  }
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  const std::string& problem() const { return problem_; }

  Process order(const BoxFds& fds, std::uint8_t flags, Fd net) {
    Process box;
    WarmReply answer;
    Fd made;
    if (!send(fds, flags, net) || !receive(answer, kStartMs, &box.pidfd, &made)) {
      problem_ = "it went away";
    } else if (answer.pid > 0 && box.pidfd) {
      box.pid = answer.pid;
      box.net = made ? std::move(made) : std::move(net);
    } else {
      problem_ = message("clone: ", std::strerror(answer.error));
    }
    return box;
  }

 private:
  void start() {
    const auto failed = [&](const char* step) { problem_ = message(step, ": ", std::strerror(errno)); };
    if (access(kPython, X_OK) != 0) return failed(kPython);
    int line[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, line) != 0) return failed("socketpair");
    control_ = Fd(line[0]);
    Fd theirs(line[1]);
    const Fd self(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
    if (!self) return failed("pidfd_open");
    const Fd module(memfd_create("r1-warm-module", MFD_CLOEXEC));
    const std::string_view bytes = warm_module();
    if (!module || write(module.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
      return failed("memfd_create");
    const Fd words(memfd_create("r1-warm-stderr", MFD_CLOEXEC));
    const Fd null(open("/dev/null", O_RDWR | O_CLOEXEC));
    if (!words || !null) return failed("/dev/null");
    spawn({null.get(), null.get(), words.get(), theirs.get(), self.get(), module.get()});
    if (pid_ < 0) return failed("fork");
    theirs.reset();  // else the line would not end with the interpreter
    WarmReply hello;
    if (receive(hello, kStartMs) && hello.pid == 0) return;
    char said[400];
    const ssize_t n = pread(words.get(), said, sizeof said, 0);
    problem_ = message(kPython, " did not come up", n > 0 ? ": " + std::string(said, static_cast<std::size_t>(n)) : "");
  }

  // Descriptors 0, 1, 2, ... of the new process. vfork, since this process may be large.
  void spawn(std::vector<int> fds) {
    std::vector<std::string> environment = box_environment();
    environment.insert(environment.end(), {"PYTHONSAFEPATH=1", "PYTHONNOUSERSITE=1", "LD_BIND_NOW=1"});
    std::vector<char*> envp;
    for (std::string& e : environment) envp.push_back(e.data());
    envp.push_back(nullptr);
    const char* argv[] = {kPython, "-s", "-c", warm_script(), nullptr};
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
      execve(kPython, const_cast<char* const*>(argv), envp.data());
      _exit(127);
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    pid_ = pid;
  }

  bool send(const BoxFds& fds, std::uint8_t flags, const Fd& net) {
    std::vector<int> list = {fds.order, fds.go, fds.report, fds.in, fds.out, fds.err};
    if (fds.fetch >= 0) list.push_back(fds.fetch), flags |= kWithFetch;
    if (net) list.push_back(net.get()), flags |= kWithNet;
    const std::size_t bytes = list.size() * sizeof(int);
    iovec data{&flags, 1};
    alignas(cmsghdr) char space[CMSG_SPACE((kBoxFds + 1) * sizeof(int))] = {};
    msghdr m{};
    m.msg_iov = &data;
    m.msg_iovlen = 1;
    m.msg_control = space;
    m.msg_controllen = CMSG_SPACE(bytes);
    cmsghdr* c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(bytes);
    std::memcpy(CMSG_DATA(c), list.data(), bytes);
    return sendmsg(control_.get(), &m, MSG_NOSIGNAL) == 1;
  }

  bool receive(WarmReply& answer, int wait_ms, Fd* first = nullptr, Fd* second = nullptr) {
    pollfd p{control_.get(), POLLIN, 0};
    int n;
    while ((n = poll(&p, 1, wait_ms)) < 0 && errno == EINTR) {
    }
    if (n <= 0) return false;
    iovec data{&answer, sizeof answer};
    alignas(cmsghdr) char space[CMSG_SPACE(2 * sizeof(int))];
    msghdr m{};
    m.msg_iov = &data;
    m.msg_iovlen = 1;
    m.msg_control = space;
    m.msg_controllen = sizeof space;
    if (recvmsg(control_.get(), &m, MSG_CMSG_CLOEXEC) != sizeof answer) return false;
    const cmsghdr* c = CMSG_FIRSTHDR(&m);
    if (!c || c->cmsg_type != SCM_RIGHTS || !first) return true;
    int fds[2] = {-1, -1};
    std::memcpy(fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
    *first = Fd(fds[0]);
    *second = Fd(fds[1]);
    return true;
  }

  Fd control_;
  pid_t pid_ = -1;
  const pid_t owner_ = getpid();
  std::string problem_;
};

class Pool {
 public:
  const pid_t owner = getpid();

  std::unique_ptr<Interpreter> take() {
    std::unique_lock lock(mutex_);
    for (;;) {
      if (!free_.empty()) {
        std::unique_ptr<Interpreter> one = std::move(free_.back());
        free_.pop_back();
        return one;
      }
      if (made_ < most_) break;
      given_.wait(lock);
    }
    if (Clock::now() < not_before_) return nullptr;
    ++made_;
    lock.unlock();
    auto one = std::make_unique<Interpreter>();
    if (one->problem().empty()) return one;
    lock.lock();
    --made_;
    problem_ = one->problem();
    not_before_ = Clock::now() + std::chrono::seconds(10);  // what does not come up is not tried for every box
    given_.notify_one();
    return nullptr;
  }

  void give(std::unique_ptr<Interpreter> one) {
    const std::scoped_lock lock(mutex_);
    problem_ = one->problem();
    if (problem_.empty()) free_.push_back(std::move(one));
    else --made_;
    given_.notify_one();
  }

  Fd take_net() {
    const std::scoped_lock lock(mutex_);
    if (nets_.empty()) return Fd();
    Fd net = std::move(nets_.back());
    nets_.pop_back();
    return net;
  }

  void give_net(Fd net) {
    const std::scoped_lock lock(mutex_);
    if (nets_.size() < 64) nets_.push_back(std::move(net));
  }

  std::string problem() {
    const std::scoped_lock lock(mutex_);
    return problem_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable given_;
  std::vector<std::unique_ptr<Interpreter>> free_;
  std::vector<Fd> nets_;
  int made_ = 0;
  const int most_ = static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, 16u));
  std::string problem_;
  Clock::time_point not_before_;
};

Pool& pool() {
  static std::mutex making;
  static std::unique_ptr<Pool> one;
  const std::scoped_lock lock(making);
  if (one && one->owner != getpid()) (void)one.release();  // a fork's copy: its locks may be held, its lines are not ours
  if (!one) one = std::make_unique<Pool>();
  return *one;
}

}  // namespace

Process start_warm(const BoxFds& fds, bool share_net) {
  Process box;
  // A second try: an idle interpreter may have been killed, for example for memory, and a new one comes up.
  for (int attempt = 0; attempt < 2 && box.pid < 0; ++attempt) {
    std::unique_ptr<Interpreter> one = pool().take();
    if (!one) break;
    box = share_net ? one->order(fds, kNewNet, pool().take_net()) : one->order(fds, 0, Fd());
    pool().give(std::move(one));
  }
  return box;
}

void give_back(Process box) {
  if (box.net) pool().give_net(std::move(box.net));
}

std::string warm_problem() {
  if (std::unique_ptr<Interpreter> one = pool().take()) pool().give(std::move(one));
  return pool().problem();
}

}  // namespace r1::code
