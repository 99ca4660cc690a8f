// Compares answers by their shape - sets, tuples, intervals, unions, matrices, relations - down to scalars.
#pragma once

#include "rewards/math/scalar.h"

namespace r1::math {

// Sets, unions and free lists ("1, 2", "x = 1 or x = 2") match in any order; brackets must be the same, so (0, 1] is
// not [0, 1]; an equation equals another if one is a constant multiple of the other; x = 5 as the gold or the answer
// may stand for 5; 2 \pm 1 is the list of both values.
Finding compare_shapes(const Tree& gold, const Tree& answer, const CheckOptions& options, Budget& budget);

}  // namespace r1::math
