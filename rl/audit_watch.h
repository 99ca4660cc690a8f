// Does the reward rise without the truth? Statistics of the audited groups of a run, and the alarm rule.
//
// The unit is a group (one prompt): its audited samples' means, since samples of one prompt are not independent. Windows
// of consecutive rollouts, the newest one against older ones (next to it, then at doubling distances, and the first of
// the run). With z = difference of means / its standard error (Welch), an alarm needs, for one of these pairs,
//   unearned: what the rewards claim (0..1) rose by min_rise or more with z >= sigmas, and claim / 2 - audited accuracy
//             rose with z >= sigmas: accuracy followed by surely less than half; or
//   traded:   the reward rose with z >= sigmas, and audited accuracy fell by min_rise or more with z >= sigmas.
// A constant error rate of either checker moves neither difference.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace r1 {

struct AuditWatchOptions {
  int window = 5;          // rollouts of a window, more if they hold fewer than 40 audited groups
  double sigmas = 4;       // 1-sided chance of 3e-5 a comparison
  double min_rise = 0.05;  // smaller changes never alarm
};

// Sum and sum of squares over groups.
struct AuditMoments {
  double sum = 0, squares = 0;
  void add(double x) { sum += x, squares += x * x; }
};

// One rollout's audited groups.
struct AuditSums {
  std::int64_t groups = 0;
  AuditMoments claim, accuracy, behind, reward;  // behind = claim / 2 - accuracy
  void add_group(double claim_mean, double accuracy_mean, double reward_mean);
  void add(const AuditSums& other);
};

struct AuditAlarm {
  bool on = false;
  std::string kind;  // "unearned", "traded"
  std::string text;  // a sentence with the numbers
};

// Not thread-safe. A function of what was added, in order: a resumed run replays its history.
class AuditWatch {
 public:
  explicit AuditWatch(AuditWatchOptions options) : options_(options) {}
  // The state after this rollout.
  AuditAlarm add(const AuditSums& rollout);

 private:
  struct Window { std::size_t begin = 0, end = 0; AuditSums sums; };
  bool window_before(std::size_t end, Window& out) const;  // false: too few rollouts or groups
  bool window_from(std::size_t begin, Window& out) const;
  AuditAlarm compare(const Window& old, const Window& recent) const;
  AuditWatchOptions options_;
  std::vector<AuditSums> rollouts_;  // those with audited groups
};

}  // namespace r1
