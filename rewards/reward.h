// What a reward is. A reward sees text and data columns of a whole group, never tensors.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/types.h"

namespace r1 {

// One reward's opinion of one completion. No value = abstained: it takes no part in the sum.
struct RewardResult {
  std::optional<float> value;
  Verdict verdict = Verdict::kAbstain;  // rewards that only measure (length, overlap) leave it
  std::string detail;                   // the word behind the verdict: "no_answer", "not_closed", ...
  std::map<std::string, std::string> columns;
  // Process supervision: what single steps are worth, for advantage.kind: process. Beside `value`, which other kinds and the logs
  // see; without one they do not count.
  std::vector<StepReward> steps = {};
};

// A completion made up from a prompt, and what the reward must say of it. For self-tests (`r1 doctor`).
struct KnownAnswer {
  std::string what;       // "the gold answer, boxed"
  Completion completion;  // text, stop; tokens hold as many ids as the reward may count
  Verdict verdict = Verdict::kAbstain;
  std::optional<float> value;
};

// A change of this class raises kRewardInterface in rewards/plugin.h: plug-ins carry its table of functions.
class RewardFunction {
 public:
  virtual ~RewardFunction() = default;
  virtual std::string_view name() const = 0;
  // Fills out[g] for completions[g]; out.size() == completions.size(). Thread-safe. A wrong answer, a timeout or a
  // crash of judged code is a result, never a throw; a throw means that the reward itself is broken and ends the run.
  virtual void score(const SampleGroup& group, std::span<RewardResult> out) const = 0;
  // Called once per prompt before a run: an error text if this prompt can never be scored (unreadable gold, missing
  // column), empty if fine.
  virtual std::string check_prompt(const Prompt&) const { return {}; }
  // True if the verdict says whether the answer is right. The first such reward of a rubric decides a sample's verdict
  // unless the recipe marks another one.
  virtual bool judges_answer() const { return false; }
  // Calls of score() that really run side by side; more of them wait for each other. 0 = any number.
  virtual int concurrency() const { return 0; }
  // Good and bad completions for this prompt, with what score() must say of each. May be empty.
  virtual std::vector<KnownAnswer> known_answers(const Prompt&) const { return {}; }
};

}  // namespace r1
