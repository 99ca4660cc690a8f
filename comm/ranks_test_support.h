// For tests: a body that runs as several ranks, each a forked process of this machine.
#pragma once

#include <atomic>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/session.h"
#include "core/error.h"
#include "core/signals.h"

namespace r1::test {

struct RankResult {
  int status = 0;      // exit code, or minus the signal that ended it
  std::string output;  // what the body gave, or "error: " and what it threw
};

// Counts across forks: how many ranks have come so far.
class SharedCount {
 public:
  SharedCount() : value_(static_cast<std::atomic<int>*>(mmap(nullptr, sizeof(std::atomic<int>), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {
    if (value_ == MAP_FAILED) throw IoError("no shared memory");
  }
  ~SharedCount() { munmap(value_, sizeof *value_); }
  SharedCount(const SharedCount&) = delete;
  SharedCount& operator=(const SharedCount&) = delete;
  void add() { ++*value_; }
  void wait_for(int n) const {
    for (int i = 0; i < 60000 && *value_ < n; ++i) usleep(1000);
  }

 private:
  std::atomic<int>* value_;
};

inline int free_port() { return Socket::listen(0)->port(); }

// A group of ranks that runs; results() waits for all.
class ForkedRanks {
 public:
  // The body's string comes back as output. It runs in a child that never returns into the test.
  ForkedRanks(int world, const SessionOptions& options, const std::function<std::string(Session&)>& body) {
    const int port = free_port();
    for (int rank = 0; rank < world; ++rank) {
      int ends[2];
      if (pipe(ends) != 0) throw IoError("no pipe");
      const pid_t child = fork();
      if (child == 0) {
        close(ends[0]);
        run_child(rank, world, port, options, body, ends[1]);
      }
      close(ends[1]);
      children_.push_back(child);
      pipes_.push_back(ends[0]);
    }
  }
  pid_t pid(int rank) const { return children_[static_cast<std::size_t>(rank)]; }
  std::vector<RankResult> results() {
    std::vector<RankResult> out(children_.size());
    for (std::size_t i = 0; i < children_.size(); ++i) {
      char block[4096];
      for (ssize_t n; (n = read(pipes_[i], block, sizeof block)) > 0;) out[i].output.append(block, static_cast<std::size_t>(n));
      close(pipes_[i]);
      int status = 0;
      waitpid(children_[i], &status, 0);
      out[i].status = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
    }
    return out;
  }

 private:
  [[noreturn]] static void run_child(int rank, int world, int port, const SessionOptions& options, const std::function<std::string(Session&)>& body, int out) {
    int code = 0;
    std::string text;
    std::unique_ptr<Session> session;
    try {
      Launch launch;
      launch.rank = rank, launch.world = world, launch.port = port, launch.run_id = "test", launch.launcher = "test";
      session = std::make_unique<Session>(launch, options);
      text = body(*session);
    } catch (const std::exception& e) {
      code = dynamic_cast<const Interrupted*>(&e) ? 130 : 1;
      text = std::string("error: ") + e.what();
      if (session && code == 1) session->fail(e.what());
    }
    session.reset();
    for (std::size_t at = 0; at < text.size();) {
      const ssize_t n = write(out, text.data() + at, text.size() - at);
      if (n <= 0) break;
      at += static_cast<std::size_t>(n);
    }
    _exit(code);
  }
  std::vector<pid_t> children_;
  std::vector<int> pipes_;
};

inline std::vector<RankResult> run_ranks(int world, const std::function<std::string(Session&)>& body, const SessionOptions& options = {}) {
  return ForkedRanks(world, options, body).results();
}

}  // namespace r1::test
