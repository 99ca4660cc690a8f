// Rigorous values: complex balls of Arb. A ball holds the true value, so two balls that do not meet prove a difference.
#pragma once

#include <cstdint>

#include <gmp.h>

#if __has_include(<flint/acb.h>)  // FLINT 3
#include <flint/acb.h>
#else
#include <acb.h>
#endif

#include "rewards/math/budget.h"
#include "rewards/math/tree.h"

namespace r1::math {

class Ball {
 public:
  Ball() { acb_init(v_); }
  ~Ball() { acb_clear(v_); }
  Ball(const Ball&) = delete;
  Ball& operator=(const Ball&) = delete;
  acb_ptr get() { return v_; }
  acb_srcptr get() const { return v_; }

 private:
  acb_t v_;
};

void set_rational(Ball& out, mpq_srcptr value, long bits);

// The value of every symbol at a test point: rational, fixed by name and point, so runs agree. Points 0 and 1 are
// positive; in point 2 all are negative; from 3 on signs mix.
inline constexpr int kPoints = 5;

// The value of `node` at a point with `bits` of precision. Not finite: outside the domain, over a limit or out of
// budget. Powers and roots are principal values, except that an odd root of a negative number is real.
void evaluate(const Tree& tree, std::uint32_t node, int point, int pm_sign, long bits, Budget& budget, Ball& out);

}  // namespace r1::math
