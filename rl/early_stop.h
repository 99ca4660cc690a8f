// Over-provisioned rollouts: more groups are begun than are wanted, and the tail is not waited for.
//
// Kept are the wanted number of groups whose longest answer is shortest (ties: the earlier prompt). That is a rule on the answers,
// not on the clock: it gives the same groups whatever is batched with what, and after a kill. It is a bias by length all the
// same, which is why it is off by default and why what it drops is counted.
//
// On several ranks each sees its own groups and hears of those that are whole elsewhere (EarlyStopNews). What it hears only makes it give up
// sooner: the wanted ones are chosen from all that are whole, by the same rule, once every rank has ended.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "rl/ranks.h"

namespace r1 {

struct EarlyStopCounts {
  std::int64_t groups = 0, dropped_groups = 0;
  std::int64_t dropped_completions = 0, dropped_tokens = 0;  // whole ones, of dropped groups; all that was sampled of these
  std::int64_t kept_tokens = 0;

  void add(const EarlyStopCounts& other);
  void drop(std::int64_t completions, std::int64_t tokens);  // a whole group that was counted as kept
  // early_stop/: sampled_groups, dropped_groups, dropped_completions, dropped_tokens, and the mean length of completions, kept_length and
  // dropped_length (as far as they came: at least that).
  void report(std::map<std::string, double>& metrics, int samples) const;
};

// Not thread-safe.
class EarlyStop {
 public:
  using Key = std::pair<std::int64_t, std::uint64_t>;  // tokens of the longest answer, the prompt's place

  // `places` [groups]: of the prompts in the order of the run, ascending. `wanted`: of all groups, those of other ranks included.
  // Precondition: wanted > 0, samples > 0.
  EarlyStop(std::vector<std::uint64_t> places, int samples, std::size_t wanted);

  // More tokens of a running sample; the sample ended with that many tokens in all.
  void grew(std::size_t group, int sample, std::int64_t tokens);
  void ended(std::size_t group, int sample, std::int64_t tokens);
  void whole_elsewhere(Key key);  // of another rank; once each
  // Groups that have become whole since the last call.
  std::vector<Key> take_whole() { return std::exchange(news_, {}); }
  // Groups that are known since the last call not to be among the wanted ones: whatever is running of them can be ended.
  std::vector<std::size_t> take_lost() { return std::exchange(untold_, {}); }
  bool lost(std::size_t group) const { return lost_[group] != 0; }
  EarlyStopCounts counts() const;

 private:
  Key key(std::size_t group) const { return {longest_[group], places_[group]}; }
  void check(std::size_t group);
  void find_bound();

  std::vector<std::uint64_t> places_;
  std::size_t samples_, wanted_;
  std::vector<std::vector<std::int64_t>> lengths_;  // [group][sample] tokens so far
  std::vector<std::int64_t> longest_;
  std::vector<std::size_t> running_;                // samples of a group that have not ended
  std::vector<Key> whole_, news_;
  std::vector<std::uint8_t> lost_;
  std::vector<std::size_t> untold_;
  std::optional<Key> bound_;  // the last of the wanted ones among the whole; a key above it is lost
};

// The rule on groups that are whole: the indices of the `wanted` smallest keys, in the order of places. Pure.
std::vector<std::size_t> shortest(std::span<const EarlyStop::Key> whole, std::size_t wanted);

// What ranks tell each other of a rollout while they sample it. Thread-safe.
class EarlyStopNews {
 public:
  // Hears from here on; `session` outlives it.
  explicit EarlyStopNews(Session& session);
  ~EarlyStopNews();
  void tell(std::uint64_t rollout, const EarlyStop::Key& key);
  // What came since the last call. Of rollouts before it nothing is kept.
  std::vector<EarlyStop::Key> take(std::uint64_t rollout);

 private:
  Session& session_;
  std::mutex mutex_;
  std::map<std::uint64_t, std::vector<EarlyStop::Key>> heard_;
};

}  // namespace r1
