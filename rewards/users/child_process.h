// A program of the user's that runs beside ours and answers lines with lines. It is the leader of a process group of
// its own, so a Ctrl-C at the terminal is ours alone, and it never outlives us: the kernel kills it when the thread that
// started it ends (PR_SET_PDEATHSIG), and a guard kills its whole group when our process ends in any way.
#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

namespace r1 {

// Belongs to one thread at a time; the thread that makes it must outlive it.
class ChildProcess {
 public:
  using Clock = std::chrono::steady_clock;
  enum class End { kLine, kTimeout, kDied, kTooLong };
  struct Reply {
    End end = End::kDied;
    std::string line;  // without the line break; only for kLine
  };

  // argv[0] is looked up in PATH. Throws IoError if the program cannot be started.
  explicit ChildProcess(const std::vector<std::string>& argv);
  // Closes the program's input, waits a moment for its end, kills what is left of its group.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // Writes `line` and a line break, then waits for one line. After anything but kLine the program is of no more use.
  Reply exchange(std::string_view line, Clock::time_point deadline);
  // A line or part of one that was written without being asked for; empty if none.
  const std::string& unasked();
  // Kills the group and waits for the program: "exited with code 1", "was killed by signal 9 (Killed)", or, where it
  // still ran, "was stopped".
  std::string stop();
  // The end of what it wrote to stderr, at most `lines` lines joined by `separator`; "" if nothing.
  std::string last_errors(std::size_t lines, std::string_view separator) const;
  // Complete stderr lines since the last call. What is beyond 10,000 lines in one exchange is left out.
  std::vector<std::string> take_errors();

 private:
  bool read_output();  // false at its end
  void read_errors();
  bool has_ended() const;
  void close_pipes();

  pid_t pid_ = -1, guard_ = -1;
  int in_ = -1, out_ = -1, err_ = -1, life_ = -1;  // life_: the guard acts when this end closes
  std::string output_, error_line_;
  std::deque<std::string> errors_;      // the last lines
  std::vector<std::string> new_errors_;
};

}  // namespace r1
