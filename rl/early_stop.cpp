#include "rl/early_stop.h"

#include <algorithm>

#include "core/error.h"

namespace r1 {

EarlyStop::EarlyStop(std::size_t groups, int samples, std::size_t wanted)
    : samples_(static_cast<std::size_t>(samples)), wanted_(wanted), lengths_(groups, std::vector<std::int64_t>(samples_, 0)),
      longest_(groups, 0), running_(groups, samples_), lost_(groups, 0) {
  R1_CHECK(wanted > 0 && wanted <= groups && samples > 0, wanted, " groups wanted of ", groups, " with ", samples, " samples each");
}

void EarlyStop::grew(std::size_t group, int sample, std::int64_t tokens) {
  std::int64_t& length = lengths_[group][static_cast<std::size_t>(sample)];
  length += tokens;
  longest_[group] = std::max(longest_[group], length);
  check(group);
}

void EarlyStop::ended(std::size_t group, int sample, std::int64_t tokens) {
  std::int64_t& length = lengths_[group][static_cast<std::size_t>(sample)];
  length = std::max(length, tokens);
  longest_[group] = std::max(longest_[group], length);
  if (--running_[group] == 0) {
    whole_.push_back(group);
    find_bound();
  }
  check(group);
}

// A running group's longest answer only grows, so a key above the bound stays above it; the bound only falls.
void EarlyStop::check(std::size_t group) {
  if (!bound_ || lost_[group] || key(group) <= *bound_) return;
  lost_[group] = 1;
  untold_.push_back(group);
}

void EarlyStop::find_bound() {
  if (whole_.size() < wanted_) return;
  std::vector<Key> keys;
  for (const std::size_t g : whole_) keys.push_back(key(g));
  const auto last = keys.begin() + static_cast<std::ptrdiff_t>(wanted_) - 1;
  std::nth_element(keys.begin(), last, keys.end());
  if (bound_ == *last) return;
  bound_ = *last;
  for (std::size_t g = 0; g < longest_.size(); ++g) check(g);
}

std::vector<std::size_t> EarlyStop::take_lost() { return std::exchange(untold_, {}); }

void EarlyStop::report(std::map<std::string, double>& m) const {
  double groups = 0, whole = 0, tokens = 0, kept_tokens = 0;
  for (std::size_t g = 0; g < lost_.size(); ++g) {
    for (const std::int64_t n : lengths_[g]) (lost_[g] ? tokens : kept_tokens) += static_cast<double>(n);
    groups += lost_[g];
    whole += lost_[g] ? static_cast<double>(samples_ - running_[g]) : 0;
  }
  const auto samples = static_cast<double>(samples_), all = static_cast<double>(lost_.size());
  m["early_stop/sampled_groups"] = all;
  m["early_stop/dropped_groups"] = groups;
  m["early_stop/dropped_completions"] = whole;
  m["early_stop/dropped_tokens"] = tokens;
  if (groups < all) m["early_stop/kept_length"] = kept_tokens / ((all - groups) * samples);
  if (groups > 0) m["early_stop/dropped_length"] = tokens / (groups * samples);
}

}  // namespace r1
