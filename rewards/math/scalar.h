// Are two expressions the same number, or the same function of their symbols?
#pragma once

#include <cstdint>

#include "rewards/math/budget.h"
#include "rewards/math/tree.h"

namespace r1::math {

enum class Outcome : unsigned char { kEqual, kDifferent, kUndecided };

// What one comparison found. proved: by exact arithmetic, by separated balls or by identical form; otherwise equality
// was seen at test points to more than 100 bits, which no accident explains but no proof either.
struct Finding {
  Outcome outcome = Outcome::kUndecided;
  bool proved = false;
  const char* reason = "";
};

struct CheckOptions {
  int rounding_digits = 3;  // as in MathCompareOptions
  bool percent_is_fraction = false;
  bool check_units = true;
};

// A subtree, with the branch that its plus-minus signs take.
struct Item {
  const Tree* tree = nullptr;
  std::uint32_t node = 0;
  int pm_sign = 0;  // 0: not chosen yet
};

bool same_form(const Item& a, const Item& b);
Finding compare_scalars(const Item& a, const Item& b, const CheckOptions& options, Budget& budget);

// Is a - b a constant multiple of c - d? For equations and inequalities; `sign` gets the sign of the factor.
Finding compare_up_to_factor(const Item& a, const Item& b, const Item& c, const Item& d, int& sign, Budget& budget);

}  // namespace r1::math
