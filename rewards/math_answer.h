// The reward `math`: is the completion's final answer the gold answer? Numbers compare exactly as rationals; what is no
// number compares as normalised text. (Formulas, sets, intervals and the like belong to the full checker.)
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/config.h"
#include "rewards/answer_extract.h"
#include "rewards/number.h"
#include "rewards/reward.h"

namespace r1 {

// One side of a comparison. After "x = 5" the value is 5 and `variable` is "x"; after "37 + 45 = 82" the value is 82.
struct MathAnswer {
  std::string text;      // cleaned
  std::string key;       // text_key()
  std::string variable;  // left side of an equation of the form variable = value
  std::optional<Number> number;
};
MathAnswer parse_math_answer(std::string_view text);  // plain_forms() or raw text without Unicode digits
std::string to_string(const MathAnswer&);             // for the columns gold_parsed and answer_parsed

struct MathCompareOptions {
  // A decimal equals an exact value (integer, fraction, power) if it is that value correctly rounded to the decimal's
  // own places and shows at least this many significant digits. Two decimals must be equal. 0 = never: exact only.
  int rounding_digits = 3;
  // false: % is a unit, 50% = 50 and not 0.5. true: 50% = 0.5 = 1/2 and not 50.
  bool percent_is_fraction = false;
  // true: two known units that differ are wrong (5 cm, 5 m); a missing or unknown unit agrees with any. false: units
  // are ignored.
  bool check_units = true;
};

struct MathComparison {
  bool equal = false;
  const char* why =
      "";  // "exact", "rounded", "text"; "value", "unit", "variable", "not_a_number", "text" when different
};
MathComparison compare_math(const MathAnswer& gold, const MathAnswer& answer, const MathCompareOptions&);

// The gold answer in a data column: after "####" (GSM8K), else the last \boxed{} (MATH), else the whole text.
// nullopt if that is empty.
std::optional<MathAnswer> parse_gold(std::string_view reference);

// Options (defaults first): extract (auto, boxed, tag, hash, phrase, last_number, whole), require_end (false; true = a
// completion that did not end is wrong), after_think (true = only what follows </think> is read), several_boxes (wrong,
// last: boxes that differ), rounding_digits (3), percent (unit, fraction), units (check, ignore), correct (1), wrong
// (0): the values paid.
std::unique_ptr<RewardFunction> make_math_reward(ConfigReader& options);

}  // namespace r1
