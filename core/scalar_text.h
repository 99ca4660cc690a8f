// Scalars of a recipe as text and back: strict, locale-free, exact.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace r1 {

std::optional<bool> parse_bool(std::string_view text);     // true/false, yes/no, on/off
// "1e-6", "1.0E-6", "+2", ".5", "5.", ".inf", "-.inf". Never NaN; out of range is no number.
std::optional<double> parse_double(std::string_view text);
// Decimal digits with sign; also a float form with an integral value ("1e3") up to 2^53.
std::optional<std::int64_t> parse_int(std::string_view text);
std::optional<std::uint64_t> parse_uint(std::string_view text);

// The shortest text that reads back as the same number; always with '.', 'e' or "inf", so that it stays a float.
std::string format_double(double value);
std::string format_float(float value);

}  // namespace r1
