// Exact proofs of equalities that balls only made probable, where Calcium was there at build time.
#pragma once

#include <optional>

#include "rewards/math/scalar.h"

namespace r1::math {

bool can_prove();  // is Calcium in this build?

// Numbers (algebraic ones, and those of exp, log, sin... as far as Calcium decides them) and rational functions of up to
// six symbols, where defined. true: a = b. false: a != b. nullopt: open, past a limit, or no Calcium.
std::optional<bool> prove_equal(const Item& a, const Item& b, Budget& budget);

}  // namespace r1::math
