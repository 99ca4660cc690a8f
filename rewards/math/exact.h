// The exact rational value of a tree that has one within the limits.
#pragma once

#include <cstdint>
#include <optional>

#include <gmpxx.h>

#include "rewards/math/budget.h"
#include "rewards/math/tree.h"

namespace r1::math {

inline constexpr std::size_t kMaxExactBits = 1 << 15;  // of a numerator or denominator: 2006! and 2^2006 fit

// nullopt: not a rational number, not known to be one, or past the limits. pm_sign: which branch a kPlusMinus takes.
// A percent sign divides by 100. A value with a unit has none here.
std::optional<mpq_class> exact_value(const Tree& tree, std::uint32_t node, int pm_sign, Budget& budget);

}  // namespace r1::math
