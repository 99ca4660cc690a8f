// The reward `countdown`: an arithmetic expression that uses every given number exactly once and equals the target.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/config.h"
#include "rewards/reward.h"

namespace r1 {

struct CountdownTask {
  std::vector<std::string> numbers;  // as digits, sorted
  std::string target;
};
// From the columns numbers (or nums): [3, 7], and target: 21. `error` says what is missing or no whole number.
std::optional<CountdownTask> countdown_task(const Prompt& prompt, std::string& error);

struct CountdownVerdict {
  Verdict verdict = Verdict::kUnparsed;
  std::string_view why;  // "ok", "no_answer", "syntax", "too_long", "too_deep", "division_by_zero", "numbers", "value"
  std::string expression;  // what was read
};
// Reads the last <answer> tag, else (tag_only = false) the last \boxed{}, else the last line that holds an expression.
// "expr = target" and "target = expr" are read too; then every side must equal the target.
CountdownVerdict judge_countdown(std::string_view completion, const CountdownTask& task, bool tag_only);

// Options: read (auto, tag), correct (1), wrong (0.1: an expression is there but wrong), after_think (true),
// require_end (false). No expression at all pays 0.
std::unique_ptr<RewardFunction> make_countdown_reward(ConfigReader& options);

}  // namespace r1
