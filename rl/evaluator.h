// Held-out evaluation through a rollout engine: greedy accuracy and sampled pass@k, with 95 % intervals.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rl/ranks.h"
#include "rl/scorer.h"
#include "rl/statistics.h"
#include "rollout/engine.h"

namespace r1 {

struct EvalOptions {
  bool greedy = true;
  int samples = 4;             // per prompt for pass@1 and pass@k; 0 = no sampled part
  std::vector<int> pass_k;     // besides k = 1; each at most `samples`; empty = {samples}
  SamplingOptions sampling;    // of the sampled part; the greedy part uses its budget and stops at temperature 0
  std::uint64_t seed = 0;  // the same draws at every evaluation of a run: differences between steps are the policy's
  int reward_threads = 1;
};

// One prompt's outcome.
struct EvalItem {
  std::string id;
  std::optional<bool> greedy_correct;
  int samples = 0, correct = 0;
  SampleGroup group;           // completions: the greedy one first if there is one, then the samples
  std::vector<Score> scores;
};

struct EvalPart {              // greedy or sampled
  std::int64_t items = 0, completions = 0;
  double accuracy = 0;         // greedy: share right; sampled: pass@1 = mean over prompts of the share right
  Interval interval;           // 95 %: Wilson (greedy), bootstrap over prompts (sampled)
  double mean_reward = 0, mean_length = 0, truncated = 0;  // truncated: share cut by the token budget
  double mean_entropy = 0;     // nats a token; NaN if the engine gave none
};

struct EvalReport {
  std::optional<EvalPart> greedy, sampled;
  std::map<int, double> pass_at;              // k -> mean unbiased pass@k
  std::map<int, Interval> pass_at_interval;   // bootstrap over prompts
  std::vector<EvalItem> items;
  double seconds = 0;
  // eval/greedy/{accuracy,accuracy_low,accuracy_high,...}, eval/sampled/{pass@1,...}, eval/seconds.
  std::map<std::string, double> metrics() const;
};

// The engine must be idle and hold the weights to be judged. A sample is right iff its verdict is ok. Throws
// ConfigError for options that contradict each other, Interrupted after a stop was requested.
// With `ranks` each rank samples and scores its share; all get the whole report.
EvalReport evaluate(RolloutEngine& engine, std::span<const Prompt> prompts, const Scorer& scorer,
                    const EvalOptions& options, const Ranks* ranks = nullptr);

}  // namespace r1
