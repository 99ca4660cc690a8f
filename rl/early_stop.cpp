#include "rl/early_stop.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"

namespace r1 {

void EarlyStopCounts::add(const EarlyStopCounts& o) {
  groups += o.groups, dropped_groups += o.dropped_groups;
  dropped_completions += o.dropped_completions, dropped_tokens += o.dropped_tokens;
  kept_tokens += o.kept_tokens;
}

void EarlyStopCounts::drop(std::int64_t completions, std::int64_t tokens) {
  dropped_groups += 1, dropped_completions += completions, dropped_tokens += tokens;
  kept_tokens -= tokens;
}

void EarlyStopCounts::report(std::map<std::string, double>& m, int samples) const {
  m["early_stop/sampled_groups"] = static_cast<double>(groups);
  m["early_stop/dropped_groups"] = static_cast<double>(dropped_groups);
  m["early_stop/dropped_completions"] = static_cast<double>(dropped_completions);
  m["early_stop/dropped_tokens"] = static_cast<double>(dropped_tokens);
  const auto mean = [&](std::int64_t tokens, std::int64_t of) { return static_cast<double>(tokens) / static_cast<double>(of * samples); };
  if (dropped_groups < groups) m["early_stop/kept_length"] = mean(kept_tokens, groups - dropped_groups);
  if (dropped_groups > 0) m["early_stop/dropped_length"] = mean(dropped_tokens, dropped_groups);
}

EarlyStop::EarlyStop(std::vector<std::uint64_t> places, int samples, std::size_t wanted)
    : places_(std::move(places)), samples_(static_cast<std::size_t>(samples)), wanted_(wanted), lengths_(places_.size(), std::vector<std::int64_t>(samples_, 0)),
      longest_(places_.size(), 0), running_(places_.size(), samples_), lost_(places_.size(), 0) {
  R1_CHECK(wanted > 0 && samples > 0, wanted, " groups wanted with ", samples, " samples each");
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
    whole_.push_back(key(group));
    news_.push_back(key(group));
    find_bound();
  }
  check(group);
}

void EarlyStop::whole_elsewhere(Key key) {
  whole_.push_back(key);
  find_bound();
}

// A running group's longest answer only grows, so a key above the bound stays above it; the bound only falls.
void EarlyStop::check(std::size_t group) {
  if (!bound_ || lost_[group] || key(group) <= *bound_) return;
  lost_[group] = 1;
  untold_.push_back(group);
}

void EarlyStop::find_bound() {
  if (whole_.size() < wanted_) return;
  std::vector<Key> keys = whole_;
  const auto last = keys.begin() + static_cast<std::ptrdiff_t>(wanted_) - 1;
  std::nth_element(keys.begin(), last, keys.end());
  if (bound_ == *last) return;
  bound_ = *last;
  for (std::size_t g = 0; g < longest_.size(); ++g) check(g);
}

EarlyStopCounts EarlyStop::counts() const {
  EarlyStopCounts out;
  for (std::size_t g = 0; g < lost_.size(); ++g) {
    const std::int64_t tokens = std::accumulate(lengths_[g].begin(), lengths_[g].end(), std::int64_t{0});
    out.groups += 1, out.kept_tokens += tokens;
    if (lost_[g]) out.drop(static_cast<std::int64_t>(samples_ - running_[g]), tokens);
  }
  return out;
}

std::vector<std::size_t> shortest(std::span<const EarlyStop::Key> whole, std::size_t wanted) {
  R1_CHECK(wanted <= whole.size(), wanted, " groups wanted of ", whole.size(), " that are whole");
  std::vector<std::size_t> out(whole.size());
  std::iota(out.begin(), out.end(), std::size_t{0});
  std::sort(out.begin(), out.end(), [&](std::size_t a, std::size_t b) { return whole[a] < whole[b]; });
  out.resize(wanted);
  std::sort(out.begin(), out.end(), [&](std::size_t a, std::size_t b) { return whole[a].second < whole[b].second; });
  return out;
}

EarlyStopNews::EarlyStopNews(Session& session) : session_(session) {
  session_.set_tell_handler([this](std::string_view payload) {
    const std::vector<std::uint64_t> v = values_of<std::uint64_t>(payload);
    R1_CHECK(v.size() == 3, "news of ", payload.size(), " bytes");
    const std::lock_guard lock(mutex_);
    heard_[v[0]].emplace_back(static_cast<std::int64_t>(v[1]), v[2]);
  });
}

EarlyStopNews::~EarlyStopNews() { session_.set_tell_handler({}); }

void EarlyStopNews::tell(std::uint64_t rollout, const EarlyStop::Key& key) {
  const std::uint64_t values[3] = {rollout, static_cast<std::uint64_t>(key.first), key.second};
  session_.tell(bytes_of(std::span<const std::uint64_t>(values)));
}

std::vector<EarlyStop::Key> EarlyStopNews::take(std::uint64_t rollout) {
  const std::lock_guard lock(mutex_);
  heard_.erase(heard_.begin(), heard_.lower_bound(rollout));
  const auto found = heard_.find(rollout);
  return found == heard_.end() ? std::vector<EarlyStop::Key>{} : std::exchange(found->second, {});
}

}  // namespace r1
