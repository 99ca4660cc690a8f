#include "rewards/code/compare_output.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

namespace r1::code {
namespace {

using Json = nlohmann::json;

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f'; }

std::string_view next_token(std::string_view& line) {
  while (!line.empty() && is_space(line.front())) line.remove_prefix(1);
  std::size_t n = 0;
  while (n < line.size() && !is_space(line[n])) ++n;
  const std::string_view token = line.substr(0, n);
  line.remove_prefix(n);
  return token;
}

bool close_numbers(double got, double expected, double tolerance) {
  return std::isfinite(got) && std::isfinite(expected) &&
         std::abs(got - expected) <= tolerance * std::max(1.0, std::abs(expected));
}

bool same_token(std::string_view got, std::string_view expected, double tolerance) {
  if (got == expected) return true;
  if (!(tolerance > 0)) return false;
  const auto number = [](std::string_view text, double& value) {
    if (!text.empty() && text[0] == '+') text.remove_prefix(1);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc() && end == text.data() + text.size();
  };
  double a = 0, b = 0;
  return number(got, a) && number(expected, b) && close_numbers(a, b, tolerance);
}

std::string_view without_end_space(std::string_view text) {
  while (!text.empty() && (is_space(text.back()) || text.back() == '\n')) text.remove_suffix(1);
  return text;
}

bool same_value(const Json& got, const Json& expected, double tolerance) {
  if (got.is_number() && expected.is_number()) {
    if (got.is_number_integer() && expected.is_number_integer()) return got == expected;
    return close_numbers(got.get<double>(), expected.get<double>(), std::max(tolerance, 0.0));
  }
  if (got.type() != expected.type()) return false;
  if (got.is_array() || got.is_object()) {
    if (got.size() != expected.size()) return false;
    for (auto it = expected.begin(); it != expected.end(); ++it) {
      if (got.is_array()) {
        if (!same_value(got[static_cast<std::size_t>(it - expected.begin())], *it, tolerance)) return false;
      } else {
        const auto found = got.find(it.key());
        if (found == got.end() || !same_value(*found, *it, tolerance)) return false;
      }
    }
    return true;
  }
  return got == expected;
}

// Comparing recurses, so the depth must be bounded before; quotes are skipped.
bool too_deep(const std::string& text) {
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (quoted) {
      if (text[i] == '\\') ++i;
      else if (text[i] == '"') quoted = false;
    } else if (text[i] == '"') {
      quoted = true;
    } else if (text[i] == '[' || text[i] == '{') {
      if (++depth > 1000) return true;
    } else if (text[i] == ']' || text[i] == '}') {
      --depth;
    }
  }
  return false;
}

}  // namespace

bool same_output(std::string_view got, std::string_view expected, double tolerance) {
  got = without_end_space(got);
  expected = without_end_space(expected);
  for (;;) {
    const std::size_t g = std::min(got.find('\n'), got.size()), e = std::min(expected.find('\n'), expected.size());
    std::string_view a = got.substr(0, g), b = expected.substr(0, e);
    for (;;) {
      const std::string_view x = next_token(a), y = next_token(b);
      if (x.empty() != y.empty() || !same_token(x, y, tolerance)) return false;
      if (x.empty()) break;
    }
    const bool got_ends = g == got.size(), expected_ends = e == expected.size();
    if (got_ends || expected_ends) return got_ends && expected_ends;
    got.remove_prefix(g + 1);
    expected.remove_prefix(e + 1);
  }
}

bool same_json(const std::string& got, const std::string& expected, double tolerance) {
  if (too_deep(got) || too_deep(expected)) return false;
  const Json a = Json::parse(got, nullptr, false), b = Json::parse(expected, nullptr, false);
  return !a.is_discarded() && !b.is_discarded() && same_value(a, b, tolerance);
}

}  // namespace r1::code
