// The maths checker: do two written answers mean the same? Re-entrant; no global state, threads, signals or clocks:
// equal input gives an equal verdict on every machine.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "rewards/answer_extract.h"
#include "rewards/math/answer.h"
#include "rewards/math/options.h"
#include "rewards/math/scalar.h"

namespace r1::math {

struct Verdict {
  Outcome outcome = Outcome::kUndecided;
  bool proved = false;  // see Finding
  std::string gold_read, answer_read;
  // Equal: "exact", "rounded", "value", "members", "text", "choice"... Different: "value", "unit", "shape", "count",
  // "brackets", "base", "relation", "text"... Undecided: "budget", "not_decided", "too_deep", "unreadable_gold"...
  std::string_view reason;
};

inline constexpr long kOperations = 20000;  // evaluations of one node; a usual answer takes 10 to 300

// Order: choice letters; trees, which hold numbers with units, percent and the like as well as sets, intervals and
// equations; and text where one side is no mathematics.
Verdict check(const Answer& gold, const Answer& answer, const CheckOptions& options = {});

// The answer of extract_answer(). Boxes that stand side by side are one answer, a list, unless all say the same.
Answer read_extracted(const ExtractedAnswer& found, const CheckOptions& options = {});

// The gold answer in a data column: after "####" (GSM8K), else the last \boxed{} (MATH), else the whole text. nullopt if
// that is empty.
std::optional<Answer> read_gold(std::string_view reference);

// Both sides are answers that were extracted already (rewards/answer_extract.h).
Verdict check(std::string_view gold, std::string_view answer, const CheckOptions& options = {});

}  // namespace r1::math
