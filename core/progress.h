// The progress of a run in the terminal's status line: a bar over the steps with the time left, and a short bar for the
// rollout in progress. Where the output is no terminal nothing is drawn; the caller's step lines are the progress.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

#include "core/terminal.h"

namespace r1 {

// A bar of `width` characters: full blocks, then empty ones. fraction is clamped to [0, 1].
std::string progress_bar(double fraction, int width, bool ascii);

// Estimates the time left from finished steps; late steps count more, since a run changes its speed.
class EtaEstimator {
 public:
  void add(double seconds_of_step);
  double seconds_left(std::int64_t steps_left) const;  // NaN before the first step

 private:
  double mean_ = 0, weight_ = 0;
};

class Progress {
 public:
  using Clock = std::chrono::steady_clock;
  struct Options {
    std::int64_t total_steps = 0;
    std::int64_t first_step = 0;                        // steps done before this start (resumed runs)
    std::function<Clock::time_point()> now = Clock::now;  // for tests
  };
  // The terminal must outlive this. The destructor clears the status line. Thread-safe.
  Progress(Terminal& terminal, Options options);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `steps_done` steps are done by now. `line` is printed above the bar (empty: nothing).
  void step_done(std::int64_t steps_done, const std::string& line);
  // The unit of work in progress: "rollout", 12 of 256, "1,810 tok/s · 41 % of roofline". Draws at most 10 times a
  // second, so it may be called often. total 0 = no bar.
  void work(const std::string& what, std::int64_t done, std::int64_t total, const std::string& detail);
  double seconds_left() const;

 private:
  void draw(bool force);
  Terminal& terminal_;
  Options options_;
  mutable std::mutex mutex_;
  std::int64_t done_;
  EtaEstimator eta_;
  Clock::time_point last_step_, last_draw_{};
  std::string what_, detail_;
  std::int64_t work_done_ = 0, work_total_ = 0;
};

}  // namespace r1
