#include "core/progress.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/format.h"

namespace r1 {

std::string progress_bar(double fraction, int width, bool ascii) {
  const int full = static_cast<int>(std::floor(std::clamp(fraction, 0.0, 1.0) * width + 1e-9));
  std::string bar;
  for (int i = 0; i < width; ++i) bar += i < full ? (ascii ? "#" : "█") : (ascii ? "." : "░");
  return bar;
}

void EtaEstimator::add(double seconds) {
  constexpr double kKeep = 0.9;  // about the last ten steps
  mean_ = kKeep * mean_ + (1 - kKeep) * seconds;
  weight_ = kKeep * weight_ + (1 - kKeep);
}

double EtaEstimator::seconds_left(std::int64_t steps_left) const {
  return weight_ == 0 ? std::numeric_limits<double>::quiet_NaN() : mean_ / weight_ * static_cast<double>(steps_left);
}

Progress::Progress(Terminal& terminal, Options options)
    : terminal_(terminal), options_(std::move(options)), done_(options_.first_step), last_step_(options_.now()) {
  const std::lock_guard lock(mutex_);
  draw(true);
}

Progress::~Progress() { terminal_.set_status(""); }

void Progress::step_done(std::int64_t steps_done, const std::string& line) {
  const std::lock_guard lock(mutex_);
  const auto now = options_.now();
  if (steps_done > done_) {
    const double seconds = std::chrono::duration<double>(now - last_step_).count();
    eta_.add(seconds / static_cast<double>(steps_done - done_));
  }
  done_ = steps_done;
  last_step_ = now;
  what_.clear();
  if (!line.empty()) terminal_.print(line);
  draw(true);
}

void Progress::work(const std::string& what, std::int64_t done, std::int64_t total, const std::string& detail) {
  const std::lock_guard lock(mutex_);
  const bool begins = what != what_;
  what_ = what;
  detail_ = detail;
  work_done_ = done;
  work_total_ = total;
  draw(begins || (total > 0 && done == total));
}

double Progress::seconds_left() const {
  const std::lock_guard lock(mutex_);
  return eta_.seconds_left(options_.total_steps - done_);
}

void Progress::draw(bool force) {
  if (!terminal_.interactive()) return;
  const auto now = options_.now();
  if (!force && now - last_draw_ < std::chrono::milliseconds(100)) return;
  last_draw_ = now;
  const int width = terminal_.width();
  const double fraction = options_.total_steps > 0 ? static_cast<double>(done_) / static_cast<double>(options_.total_steps) : 0;
  std::string line = "step " + with_commas(done_) + "/" + with_commas(options_.total_steps) + " ";
  line += terminal_.paint(progress_bar(fraction, std::clamp(width / 5, 5, 30), terminal_.ascii()), "36");
  const double left = eta_.seconds_left(options_.total_steps - done_);
  if (!std::isnan(left)) line += " " + human_duration(left) + " left";
  if (!what_.empty()) {
    line += " | " + what_;
    if (work_total_ > 0) {
      const double part = static_cast<double>(work_done_) / static_cast<double>(work_total_);
      line += " " + progress_bar(part, std::clamp(width / 12, 4, 10), terminal_.ascii()) + " " + with_commas(work_done_) + "/" + with_commas(work_total_);
    }
    if (!detail_.empty()) line += " " + detail_;
  }
  terminal_.set_status(line);
}

}  // namespace r1
