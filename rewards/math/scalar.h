// Are two expressions the same number, or the same function of their symbols?
#pragma once

#include <cstdint>
#include <optional>

#include "rewards/math/budget.h"
#include "rewards/math/options.h"
#include "rewards/math/tree.h"

namespace r1::math {

enum class Outcome : unsigned char { kEqual, kDifferent, kUndecided };

// What one comparison found. proved: by exact arithmetic, by separated balls or by identical form; otherwise equality
// was seen at test points to more than 100 bits, which no accident explains but no proof either.
struct Finding {
  Outcome outcome = Outcome::kUndecided;
  bool proved = false;
  std::string_view reason;
};

// A subtree, with the branch that its plus-minus signs take.
struct Item {
  const Tree* tree = nullptr;
  std::uint32_t node = 0;
  int pm_sign = 0;  // 0: not chosen yet
};

bool same_form(const Item& a, const Item& b);
bool contains(const Item& a, NodeKind kind, int op = -1);
Finding compare_scalars(const Item& a, const Item& b, const CheckOptions& options, Budget& budget);

// Is a / b the same as c / d? Neither b nor d is known to be zero.
Finding compare_quotients(const Item& a, const Item& b, const Item& c, const Item& d, Budget& budget);

// The sign of a - b for real constants, proved; nullopt if it stays open.
std::optional<int> order(const Item& a, const Item& b, Budget& budget);

// Is a - b a constant multiple of c - d? For equations and inequalities; `sign` gets the sign of the factor.
Finding compare_up_to_factor(const Item& a, const Item& b, const Item& c, const Item& d, int& sign, Budget& budget);

}  // namespace r1::math
