// Whether a program said what was expected. Runs outside the box, on bytes.
#pragma once

#include <string>
#include <string_view>

namespace r1::code {

// Line by line, token by token: spaces between tokens, at line ends and empty lines at the end do not matter, the
// number of lines does. With tolerance > 0 two tokens that are both finite decimal numbers are equal if they differ by
// at most tolerance * max(1, |expected|); nan and inf equal nothing but their own spelling.
bool same_output(std::string_view got, std::string_view expected, double tolerance);

// Two JSON texts: true is no number, 1 equals 1.0, order of keys does not matter, numbers as above. `got` that is no
// single JSON value is unequal.
bool same_json(const std::string& got, const std::string& expected, double tolerance);

}  // namespace r1::code
