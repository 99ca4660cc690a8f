// The full maths checker: do two written answers mean the same? Re-entrant; no global state, threads, signals or clocks:
// equal input gives an equal verdict on every machine.
#pragma once

#include <string>
#include <string_view>

#include "rewards/math/scalar.h"

namespace r1::math {

struct Verdict {
  Outcome outcome = Outcome::kUndecided;
  bool proved = false;  // see Finding
  std::string gold_read, answer_read;
  std::string reason;  // "exact", "rounded", "value", "members", "brackets", "text", "budget", "too_deep", ...
};

inline constexpr long kOperations = 20000;  // evaluations of one node; a usual answer takes 10 to 300

// Both sides are answers that were extracted already (rewards/answer_extract.h), in any dress: LaTeX, plain text,
// Unicode digits and signs. Order: whole numbers with units, percent and the like (rewards/math_answer.h); choice
// letters; trees; and text where one side is no mathematics. A failed parse never falls back to a number within.
Verdict check(std::string_view gold, std::string_view answer, const CheckOptions& options = {});

}  // namespace r1::math
