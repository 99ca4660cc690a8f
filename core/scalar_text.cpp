#include "core/scalar_text.h"

#include <array>
#include <charconv>
#include <cmath>

namespace r1 {
namespace {

std::string_view without_plus(std::string_view text) {
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  return text;
}

template <class T>
std::optional<T> parse_whole(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

template <class T>
std::string format_floating(T value) {
  if (std::isnan(value)) return ".nan";
  if (std::isinf(value)) return value > 0 ? ".inf" : "-.inf";
  std::array<char, 64> buffer;
  const auto result = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  std::string text(buffer.data(), result.ptr);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

// Integral value of a float form such as "1e3".
std::optional<double> integral(std::string_view text) {
  const auto value = parse_double(text);
  if (!value || std::abs(*value) > 0x1p53 || std::trunc(*value) != *value) return std::nullopt;
  return value;
}

}  // namespace

std::optional<bool> parse_bool(std::string_view text) {
  for (const std::string_view yes : {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"}) {
    if (text == yes) return true;
  }
  for (const std::string_view no : {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"}) {
    if (text == no) return false;
  }
  return std::nullopt;
}

std::optional<double> parse_double(std::string_view text) {
  if (text == ".inf" || text == "+.inf") return INFINITY;
  if (text == "-.inf") return -INFINITY;
  // from_chars knows words (inf, nan, infinity) that are no numbers in YAML.
  if (text.find_first_not_of("0123456789+-.eE") != std::string_view::npos) return std::nullopt;
  return parse_whole<double>(without_plus(text));
}

std::optional<std::int64_t> parse_int(std::string_view text) {
  if (const auto value = parse_whole<std::int64_t>(without_plus(text))) return value;
  if (const auto value = integral(text)) return static_cast<std::int64_t>(*value);
  return std::nullopt;
}

std::optional<std::uint64_t> parse_uint(std::string_view text) {
  if (const auto value = parse_whole<std::uint64_t>(without_plus(text))) return value;
  if (const auto value = integral(text); value && *value >= 0) return static_cast<std::uint64_t>(*value);
  return std::nullopt;
}

std::string format_double(double value) { return format_floating(value); }
std::string format_float(float value) { return format_floating(value); }

}  // namespace r1
