// Over-provisioned rollouts: more groups are begun than are wanted, and the tail is not waited for.
//
// Kept are the wanted number of groups whose longest answer is shortest (ties: the earlier prompt). That is a rule on the answers,
// not on the clock: it gives the same groups whatever is batched with what, and after a kill. It is a bias by length all the
// same, which is why it is off by default and why what it drops is counted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace r1 {

// Not thread-safe.
class EarlyStop {
 public:
  // Precondition: 0 < wanted <= groups, samples > 0.
  EarlyStop(std::size_t groups, int samples, std::size_t wanted);

  // More tokens of a running sample; the sample ended with that many tokens in all.
  void grew(std::size_t group, int sample, std::int64_t tokens);
  void ended(std::size_t group, int sample, std::int64_t tokens);
  // Groups that are known since the last call not to be among the wanted ones: whatever is running of them can be ended.
  std::vector<std::size_t> take_lost();
  bool lost(std::size_t group) const { return lost_[group] != 0; }
  // early_stop/: sampled_groups, dropped_groups, dropped_completions (whole ones among them), dropped_tokens, and the mean length of
  // completions, kept_length and dropped_length (as far as they came: at least that).
  void report(std::map<std::string, double>& metrics) const;

 private:
  using Key = std::pair<std::int64_t, std::size_t>;  // longest answer, group
  Key key(std::size_t group) const { return {longest_[group], group}; }
  void check(std::size_t group);
  void find_bound();

  std::size_t samples_, wanted_;
  std::vector<std::vector<std::int64_t>> lengths_;  // [group][sample] tokens so far
  std::vector<std::int64_t> longest_;
  std::vector<std::size_t> running_, whole_;         // samples of a group that have not ended; groups that have
  std::vector<std::uint8_t> lost_;
  std::vector<std::size_t> untold_;
  std::optional<Key> bound_;  // the last of the wanted ones among the whole; a key above it is lost
};

}  // namespace r1
