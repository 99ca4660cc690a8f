// Decimal literals as written: the one reader of digits behind number.h and the maths parser.
#pragma once

#include <cstddef>
#include <string_view>

#include <gmpxx.h>

namespace r1 {

// A number and what its digits say about rounding.
struct Literal {
  mpq_class value;      // exact
  int places = 0;       // the last written digit is worth 10^-places; negative after an exponent or a magnitude word
  int significant = 0;  // digits from the first that is not 0; 0 = not known, as of fractions
  bool decimal = false; // written with a point and not as a repeating decimal: may be a rounding
};

inline constexpr std::size_t kMaxNumberDigits = 1000;  // longer ones are no numbers here (equal texts stay equal)

// The end of the unsigned literal at `begin`: digits, with commas between groups of three where `commas` is set, a point
// with digits, a repeating part \overline{3}, \dot{3}, \dot{1}23\dot{4}. `begin` itself if there is none; a point
// without digits behind it is not part of a literal.
std::size_t literal_end(std::string_view s, std::size_t begin, bool commas);

// Reads a text that literal_end() covers as a whole. False past kMaxNumberDigits.
bool read_literal(std::string_view text, Literal& out);

}  // namespace r1
