// Numbers in answers, kept exactly: rationals of big integers, with the digits as written, percent sign and unit.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "rewards/literal.h"

namespace r1 {

// Magnitude words (thousand, million) are multiplied in, a percent sign is not divided out.
struct Number : Literal {
  bool percent = false;
  std::string unit;  // canonical name of a known unit ("cm", "cm^2", "usd", "deg"); empty if none or unknown word
};

// Limits that keep hostile input cheap (see also kMaxNumberDigits).
inline constexpr int kMaxExponent = 1000;

// Reads all of `text` as one number, or nothing. The text is plain ASCII-form LaTeX as clean_answer() leaves it (no $,
// \text, \left, \dfrac). Understood: signs; thousands separators 1,234; decimals; a/b, \frac{a}{b}, \frac12; mixed 1
// 1/2 and 1\frac{1}{2}; 1.5e3, 1.5*10^{3}, 10^{-2}, 2^{10}; 0.\overline{3}; currency before the number; after it %, a
// unit, an ordinal ending or plain words ("apples", "miles per hour"). Words that change the value ("squared", "or")
// are refused, magnitude words multiply.
std::optional<Number> parse_number(std::string_view text);

// The end of the numeric literal (digits, separators, decimals, exponent, one unspaced /denominator) that starts at
// `begin`, which must be a digit or a point before a digit. For finding numbers in prose.
std::size_t number_literal_end(std::string_view text, std::size_t begin);

// Length of a known unit's name (two letters and more: 4t is a product), %, ordinal ending that follows directly at
// `text`'s start; 0 if none.
std::size_t attached_suffix(std::string_view text);

// "3/4", "-12", "5%": for tables.
std::string to_string(const Number&);

}  // namespace r1
