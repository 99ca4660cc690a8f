#include "rewards/users/child_process.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/error.h"

namespace r1 {
namespace {

constexpr std::size_t kMaxReply = std::size_t{256} << 20;
constexpr std::size_t kErrorLinesKept = 200, kErrorLineBytes = 4096, kNewErrorLines = 10'000;

void close_fd(int& fd) {
  if (fd >= 0) close(fd);
  fd = -1;
}

struct Pipe {
  int read = -1, write = -1;
  Pipe() {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0)
      throw IoError(message("no pipe for a worker process: ", std::strerror(errno), "; raise the limit of open files"));
    read = fds[0];
    write = fds[1];
  }
  ~Pipe() {
    close_fd(read);
    close_fd(write);
  }
};

int release(int& fd) { return std::exchange(fd, -1); }

// Keeps SIGPIPE of a write to a dead program away from this thread, whatever the process does with the signal.
class NoPipeSignal {
 public:
  NoPipeSignal() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    sigset_t pending;
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_, &old_);
  }
  ~NoPipeSignal() {
    const timespec now{};
    if (!was_pending_)
      while (sigtimedwait(&pipe_, nullptr, &now) < 0 && errno == EINTR) {
      }
    pthread_sigmask(SIG_SETMASK, &old_, nullptr);
  }

 private:
  sigset_t pipe_, old_;
  bool was_pending_ = false;
};

// Starts a program with these descriptors as 0, 1, 2, 3 (-1 = /dev/null for 0..2, none for 3), in a process
// group of its own. Returns its pid, or
// minus the error number. Nothing but system calls between vfork and exec: the memory is still the parent's.
pid_t start(char* const* argv, const std::array<int, 4>& fds, bool dies_with_us) {
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  volatile int failed = 0;
  const pid_t parent = getpid();
  const pid_t pid = vfork();
  if (pid == 0) {
    for (const int s : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGQUIT, SIGCHLD, SIGUSR1, SIGUSR2}) std::signal(s, SIG_DFL);
    if (dies_with_us) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != parent) _exit(127);  // it died before the line above
    }
    setpgid(0, 0);
    // Moved up first, so that no dup2 below overwrites one that is still wanted.
    std::array<int, 4> high{};
    for (std::size_t i = 0; i < fds.size(); ++i) high[i] = fds[i] < 0 && i == 3 ? -1 : fcntl(fds[i] < 0 ? null : fds[i], F_DUPFD_CLOEXEC, 10);
    for (std::size_t i = 0; i < fds.size(); ++i)
      if (high[i] >= 0) dup2(high[i], static_cast<int>(i));
    syscall(SYS_close_range, fds[3] < 0 ? 3u : 4u, ~0u, 4u);  // CLOSE_RANGE_CLOEXEC; old kernels: all of ours are marked anyway
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    execvp(argv[0], argv);
    failed = errno;
    _exit(127);
  }
  const int fork_error = errno;
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  if (null >= 0) close(null);
  if (pid < 0) return -fork_error;
  if (failed != 0) {
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    return -failed;
  }
  return pid;
}

std::vector<char*> pointers(const std::vector<std::string>& argv) {
  std::vector<char*> out;
  for (const std::string& a : argv) out.push_back(const_cast<char*>(a.c_str()));
  out.push_back(nullptr);
  return out;
}

int milliseconds_until(ChildProcess::Clock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - ChildProcess::Clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 1'000'000'000));
}

}  // namespace

ChildProcess::ChildProcess(const std::vector<std::string>& argv) {
  R1_CHECK(!argv.empty(), "a child process without a program");
  Pipe in, out, err, life;
  const pid_t pid = start(pointers(argv).data(), {in.read, out.write, err.write, -1}, true);
  if (pid < 0) throw IoError(message("'", argv[0], "' cannot be started: ", std::strerror(-pid)));
  // Waits for the end of our process (the only holder of the pipe's other end), then kills the group.
  const std::vector<std::string> guard = {"/bin/sh", "-c", "read _ <&3; kill -s KILL -- \"-$1\"", "r1-guard", std::to_string(pid)};
  const pid_t guard_pid = start(pointers(guard).data(), {-1, -1, -1, life.read}, false);
  if (guard_pid < 0) {
    kill(-pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    throw IoError(message("/bin/sh cannot be started: ", std::strerror(-guard_pid)));
  }
  pid_ = pid;
  guard_ = guard_pid;
  in_ = release(in.write);
  out_ = release(out.read);
  err_ = release(err.read);
  life_ = release(life.write);
  for (const int fd : {in_, out_, err_}) fcntl(fd, F_SETFL, O_NONBLOCK);
}

ChildProcess::~ChildProcess() {
  if (pid_ > 0) {
    close_fd(in_);
    for (int i = 0; i < 100 && !has_ended(); ++i) {  // it may want to tidy up: about a second
      read_errors();
      read_output();
      poll(nullptr, 0, i < 20 ? 1 : 12);
    }
    stop();
  }
  close_pipes();
}

void ChildProcess::close_pipes() {
  for (int* fd : {&in_, &out_, &err_, &life_}) close_fd(*fd);
}

bool ChildProcess::read_output() {
  char buffer[65536];
  for (;;) {
    const ssize_t n = out_ < 0 ? 0 : read(out_, buffer, sizeof buffer);
    if (n > 0) output_.append(buffer, static_cast<std::size_t>(n));
    else if (n == 0) return false;
    else if (errno != EINTR) return true;
    if (output_.size() > kMaxReply) return true;
  }
}

void ChildProcess::read_errors() {
  char buffer[16384];
  while (err_ >= 0) {
    const ssize_t n = read(err_, buffer, sizeof buffer);
    if (n == 0) {
      if (!error_line_.empty()) errors_.push_back(std::exchange(error_line_, {}));
      close_fd(err_);
    }
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    for (const char c : std::string_view(buffer, static_cast<std::size_t>(n))) {
      if (c != '\n') {
        if (error_line_.size() < kErrorLineBytes) error_line_ += c;
        continue;
      }
      if (new_errors_.size() < kNewErrorLines) new_errors_.push_back(error_line_);
      errors_.push_back(std::exchange(error_line_, {}));
      if (errors_.size() > kErrorLinesKept) errors_.pop_front();
    }
  }
}

const std::string& ChildProcess::unasked() {
  if (pid_ > 0) {
    read_errors();
    read_output();
  }
  return output_;
}

ChildProcess::Reply ChildProcess::exchange(std::string_view line, Clock::time_point deadline) {
  std::string request(line);
  request += '\n';
  std::size_t written = 0, searched = 0;
  bool open = pid_ > 0;
  while (open) {
    std::array<pollfd, 3> wait = {pollfd{out_, POLLIN, 0}, pollfd{err_, POLLIN, 0},
                                  pollfd{written < request.size() ? in_ : -1, POLLOUT, 0}};
    // In slices: a child of the program may hold its pipes open after its death.
    const int ready = poll(wait.data(), wait.size(), std::min(milliseconds_until(deadline), 250));
    if (ready < 0 && errno == EINTR) continue;
    const bool ended = ready == 0 && has_ended();
    read_errors();
    open = read_output() && !ended;
    if (const std::size_t end = output_.find('\n', searched); end != std::string::npos) {
      // An answer before the whole question was read is none.
      if (written < request.size()) return {End::kDied, {}};
      Reply reply{End::kLine, output_.substr(0, end)};
      output_.erase(0, end + 1);
      if (!reply.line.empty() && reply.line.back() == '\r') reply.line.pop_back();
      return reply;
    }
    searched = output_.size();
    if (output_.size() > kMaxReply) return {End::kTooLong, {}};
    if (ready == 0 && Clock::now() >= deadline) return {End::kTimeout, {}};
    if ((wait[2].revents & (POLLOUT | POLLERR)) != 0) {
      const NoPipeSignal quiet;
      const ssize_t n = write(in_, request.data() + written, request.size() - written);
      if (n > 0) written += static_cast<std::size_t>(n);
      else if (n < 0 && errno != EAGAIN && errno != EINTR) open = false;
    }
  }
  return {End::kDied, {}};
}

bool ChildProcess::has_ended() const {
  siginfo_t info{};  // not waited for: its group number stays its own
  return waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT | WNOHANG) == 0 && info.si_pid == pid_;
}

std::string ChildProcess::stop() {
  if (pid_ <= 0) return "was stopped";
  // A program whose output has ended is about to end itself; its exit code says more than our signal would.
  bool ended = has_ended();
  for (int i = 0; i < 50 && !ended && !read_output(); ++i) {
    poll(nullptr, 0, 4);
    ended = has_ended();
  }
  kill(-pid_, SIGKILL);  // while it is not waited for, its group number is not given away
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  kill(guard_, SIGKILL);
  while (waitpid(guard_, nullptr, 0) < 0 && errno == EINTR) {
  }
  guard_ = -1;
  read_errors();
  close_pipes();
  if (WIFEXITED(status)) return message("exited with code ", WEXITSTATUS(status));
  if (!ended) return "was stopped";
  return message("was killed by signal ", WTERMSIG(status), " (", strsignal(WTERMSIG(status)), ")");
}

std::string ChildProcess::last_errors(std::size_t lines, std::string_view separator) const {
  std::vector<std::string_view> all(errors_.begin(), errors_.end());
  if (!error_line_.empty()) all.emplace_back(error_line_);
  std::string out;
  for (std::size_t i = all.size() - std::min(lines, all.size()); i < all.size(); ++i) {
    if (!out.empty()) out += separator;
    out += all[i];
  }
  return out;
}

std::vector<std::string> ChildProcess::take_errors() { return std::exchange(new_errors_, {}); }

}  // namespace r1
