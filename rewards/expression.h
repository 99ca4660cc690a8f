// Arithmetic on whole numbers as people and models write it, evaluated exactly. No eval, no recursion without a limit.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <gmpxx.h>

namespace r1 {

struct Expression {
  bool ok = false;
  std::string_view why;              // when not ok: "syntax", "too_long", "too_deep", "division_by_zero"
  std::vector<std::string> numbers;  // as written, without leading zeros, in order
  mpq_class value;
};

inline constexpr std::size_t kMaxExpressionBytes = 1000;
inline constexpr int kMaxExpressionDepth = 100;
inline constexpr std::size_t kMaxExpressionDigits = 18;  // of one number

// + - * / with the usual precedence, unary signs, ( ) [ ]; whole numbers only; spaces anywhere between tokens. Powers,
// implied products and everything else are syntax errors. The text is plain_forms(): Unicode minus, times and division
// are ASCII already; \times, \cdot, \div, \left and \right are read too.
Expression evaluate_expression(std::string_view text);

}  // namespace r1
