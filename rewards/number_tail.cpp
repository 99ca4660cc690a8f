#include "rewards/number_tail.h"

#include <cmath>

#include "rewards/completion_text.h"
#include "rewards/units.h"

namespace r1 {
namespace {

constexpr bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// unit, unit^2, unit^{3}: the canonical name with its power, or nothing.
std::optional<std::string> unit_with_power(std::string_view token) {
  const auto caret = token.find('^');
  auto unit = canonical_unit(token.substr(0, caret));
  if (unit || caret != std::string_view::npos) {
    if (!unit || caret == std::string_view::npos) return unit;
    const std::string_view power = token.substr(caret + 1);
    if (power == "2" || power == "{2}") return *unit + "^2";
    if (power == "3" || power == "{3}") return *unit + "^3";
    return std::nullopt;
  }
  const auto slash = token.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto top = canonical_unit(token.substr(0, slash)), bottom = canonical_unit(token.substr(slash + 1));
  return top && bottom ? std::optional(*top + "/" + *bottom) : std::nullopt;
}

void magnify(Number& n, double factor) {
  n.value *= mpz_class(factor);
  n.places -= static_cast<int>(std::lround(std::log10(factor)));
}

}  // namespace

std::size_t attached_suffix(std::string_view text) {
  if (text.starts_with("%")) return 1;
  if (text.starts_with("\\%")) return 2;
  std::size_t end = 0;
  while (end < text.size() && end < 16 && (is_letter(text[end]) || text[end] == '/')) ++end;
  const std::string_view word = text.substr(0, end);
  if (word.empty()) return 0;
  if (word == "st" || word == "nd" || word == "rd" || word == "th") return end;
  if (word.size() == 1 || !unit_with_power(word)) return 0;  // "4t" is a product far more often than four tons
  for (const std::string_view power : {"^2", "^3", "^{2}", "^{3}"}) {
    if (text.substr(end).starts_with(power)) return end + power.size();
  }
  return end;
}

bool read_number_tail(std::string_view rest, Number& out) {
  while (!rest.empty() && std::string_view(" .,;:\n\r\t").find(rest.back()) != std::string_view::npos)
    rest.remove_suffix(1);
  if (rest.empty()) return true;
  if (rest.starts_with("^\\circ")) {
    out.unit = "deg";
    rest = trim(rest.substr(6));
  } else if (const std::string_view degree = trim(rest); degree.starts_with("%")) {
    out.percent = true;
    rest = trim(degree.substr(1));
  } else if (const std::size_t suffix = attached_suffix(rest)) {
    if (const auto unit = unit_with_power(rest.substr(0, suffix))) out.unit = *unit;
    rest.remove_prefix(suffix);
  } else if (rest[0] == '-' && rest.size() > 1 && is_letter(rest[1])) {
    rest.remove_prefix(1);  // 82-year-old
  } else if (rest[0] == '/' && rest.size() > 1 && is_letter(rest[1])) {
    rest.remove_prefix(1);  // 5/day
  } else if (static_cast<unsigned char>(rest[0]) < 0x80 && rest[0] != ' ' && rest[0] != '\n' && rest[0] != '\t' &&
             rest[0] != '\r') {
    return false;
  }
  std::string unit;
  bool all_unit = true, first = true;
  int pending_power = 0;  // "square" seen
  while (!(rest = trim(rest)).empty()) {
    std::string_view word = rest.substr(0, rest.find_first_of(" \t\r\n"));
    rest.remove_prefix(word.size());
    // In Chinese "thousand" is a unit's prefix too: a kilogram is no thousand.
    if (static_cast<unsigned char>(word[0]) >= 0x80 && first && word.size() >= 3 && !canonical_unit(word)) {
      if (const double factor = magnitude_word(word.substr(0, 3)); factor > 0) {
        magnify(out, factor);
        word.remove_prefix(3);
        if (word.empty()) continue;
      }
    }
    while (!word.empty() && (word.back() == ')' || word.back() == ',' || word.back() == '.' || word.back() == ';'))
      word.remove_suffix(1);
    while (!word.empty() && word.front() == '(') word.remove_prefix(1);
    if (word.empty()) continue;
    if (word == "%" || word == "percent") {
      out.percent = true;
    } else if (const double factor = magnitude_word(word); factor > 0) {
      if (!first) return false;
      magnify(out, factor);
      continue;  // a unit may follow
    } else if (const auto known = unit_with_power(word)) {
      if (unit.ends_with('/') || unit.empty())
        unit += *known + (pending_power ? "^" + std::to_string(pending_power) : "");
      else all_unit = false;
      pending_power = 0;
    } else if (word == "square" || word == "sq" || word == "cubic") {
      pending_power = word == "cubic" ? 3 : 2;
    } else if ((word == "squared" || word == "cubed") && !unit.empty() && all_unit) {
      unit += word == "squared" ? "^2" : "^3";
    } else if (word == "per" && !unit.empty()) {
      unit += "/";
    } else {
      if (changes_value(word) || (word.size() == 1 && is_letter(word[0]))) return false;
      if (word.find_first_of("0123456789+*=<>\\{}[]|^_$") != std::string_view::npos) return false;
      if (word[0] == '/' || word[0] == '-' || word[0] == '!') return false;
      all_unit = false;
    }
    first = false;
  }
  if (all_unit && !unit.empty() && !unit.ends_with('/') && out.unit.empty() && unit != "unit") out.unit = unit;
  return true;
}

}  // namespace r1
