// What counts as the same answer.
#pragma once

#include "core/config.h"

namespace r1::math {

enum class PercentRule : unsigned char { kUnit, kFraction, kEither };
enum class UnitRule : unsigned char { kCheck, kIgnore, kRequire };

struct CheckOptions {
  // A decimal equals an exact value (integer, fraction, root...) if it is that value correctly rounded to the decimal's
  // own places and shows at least this many significant digits. Two decimals must be equal. 0 = never: exact only.
  int rounding_digits = 3;
  // kUnit: 50% = 50 and not 0.5. kFraction: 50% = 0.5 = 1/2 and not 50. kEither: both.
  PercentRule percent = PercentRule::kUnit;
  // kCheck: two known units that differ are wrong (5 cm, 5 m); a missing or unknown unit agrees with any. kRequire: a
  // missing unit is wrong too. kIgnore: units do not count. Units are never converted, except degrees to radians.
  UnitRule units = UnitRule::kCheck;
  // The gold "x < 3" accepts (-\infty, 3) in any case. The gold (-\infty, 3) accepts "x < 3" only if this is set:
  // otherwise repeating the problem's own relation would pay.
  bool relation_answers = false;
  // 101_2 equals 5 and 5_{10}. Off: the base of the gold is part of the answer.
  bool bases_by_value = false;
  // Free lists are no sets and no tuples: the gold \{1, 2\} refuses "1, 2".
  bool strict_shapes = false;
  // Equalities that balls at test points made probable are given to exact algebra (rewards/math/proof.h), which proves
  // or refutes most of those between numbers and between rational functions. Slower: 10 to 1000 microseconds for each.
  bool prove = false;
};

// From a reward's or a command's options, defaults first: strict (false; true changes the defaults of the others to
// rounding_digits 0, units require, and sets strict shapes), rounding_digits (3), percent (unit, fraction, either),
// units (check, ignore, require), relation_answers (false), bases (written, value), prove (false;
// true in a build without Calcium is an error). Throws ConfigError.
CheckOptions read_check_options(ConfigReader& options);

}  // namespace r1::math
