// last_number() of answer_extract.h: the last number of prose, and whether its neighbours make it a piece of a formula.
#include <algorithm>

#include "rewards/answer_extract.h"
#include "rewards/answer_text.h"
#include "rewards/number.h"

namespace r1 {
namespace {

constexpr std::size_t kNone = std::string_view::npos;
constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
constexpr bool is_closing(char c) { return c == ')' || c == ']' || c == '}'; }

ExtractedAnswer found(std::string_view text) { return {true, text, "number", {}, {}, {}}; }
ExtractedAnswer refused(std::string_view why) { return {false, {}, "none", why, {}, {}}; }

// Position of the last character before `i` that is no blank (spaces, not line ends), or npos.
std::size_t before_blank(std::string_view s, std::size_t i) {
  while (i > 0 && (s[i - 1] == ' ' || s[i - 1] == '\t')) --i;
  return i == 0 ? std::string_view::npos : i - 1;
}

// \frac{a}{b} around a literal in prose: the span of the whole fraction with a whole part and sign before it, or empty.
std::string_view fraction_around(std::string_view s, std::size_t begin, std::size_t end) {
  const std::size_t window = begin > 200 ? begin - 200 : 0;
  const std::size_t in_window = s.substr(window, begin - window).rfind("frac");
  if (in_window == std::string_view::npos) return {};
  std::size_t start = window + in_window;
  while (start > window && is_letter(s[start - 1])) --start;  // dfrac, tfrac
  if (start == 0 || s[start - 1] != '\\') return {};
  --start;
  const std::size_t close = s[end < s.size() ? end : end - 1] == '}' ? end + 1 : end;
  while (start > window && is_digit(s[start - 1])) --start;
  if (start > window && (s[start - 1] == '-' || s[start - 1] == '+')) --start;
  return s.substr(start, close - start);
}

// A letter that stands alone, as variables do.
bool is_variable(std::string_view s, std::size_t i) {
  return is_letter(s[i]) && (i == 0 || !is_letter(s[i - 1])) && (i + 1 >= s.size() || !is_letter(s[i + 1]));
}

struct Literal {
  std::size_t begin = kNone, end = 0;
};
struct LastLiterals {
  Literal last, before;  // `before` is the one ahead of the last
};
LastLiterals find_literals(std::string_view s) {
  LastLiterals out;
  for (std::size_t i = 0; i < s.size(); ++i) {
    const bool point = s[i] == '.' && i + 1 < s.size() && is_digit(s[i + 1]) && (i == 0 || !is_digit(s[i - 1]));
    if (!is_digit(s[i]) && !point) continue;
    out.before = out.last;
    out.last = {i, number_literal_end(s, i)};
    i = out.last.end - 1;
  }
  return out;
}

// What follows the literal: the end of number and unit, or kNone if the number is a piece of a formula.
std::size_t right_side(std::string_view s, std::size_t end) {
  if (end >= s.size()) return end;
  const std::string_view rest = s.substr(end);
  if (const std::size_t suffix = attached_suffix(rest)) return end + suffix;
  if (rest.starts_with("^\\circ")) return end + 6;
  const char c = rest[0];
  if (is_letter(c) || c == '^' || c == '_' || c == '(' || c == '{' || c == '+') return kNone;
  const char next = rest.size() > 1 ? rest[1] : ' ';
  if (c == '*' && (is_letter(next) || next == '\\')) return kNone;
  if (c == '\\') {
    for (const std::string_view factor : {"\\sqrt", "\\pi", "\\frac", "\\cdot", "\\times"}) {
      if (rest.starts_with(factor)) return kNone;
    }
  }
  if (c != ' ') return end;
  if (const std::size_t suffix = attached_suffix(rest.substr(1))) {  // "42 cm"
    const std::size_t after = end + 1 + suffix;
    const bool word_in =
        rest.substr(1, suffix) == "in" && after < s.size() && s[after] == ' ';  // not inches: "5 in total"
    if (!word_in && (after >= s.size() || !is_letter(s[after]))) return after;
  }
  const std::size_t operand = rest.find_first_not_of(' ', 2);  // "5 + x"
  const bool operation = (next == '+' || next == '*' || next == '^') && operand != kNone && operand > 2;
  return operation && (rest[operand] == '\\' || is_variable(rest, operand)) ? kNone : end;
}

enum class Left { kFree, kSign, kInside, kSeveral };

// What stands before the number that starts at `start`. `earlier_end`: where the number before it ended.
Left left_side(std::string_view s, std::size_t start, std::size_t earlier_end) {
  const std::size_t at = before_blank(s, start);
  if (at == kNone) return Left::kFree;
  const bool attached = at + 1 == start;
  const char c = s[at];
  const std::size_t left = before_blank(s, at);
  const char l = left == kNone ? '\n' : s[left];
  if (c == '-' || c == '+') {
    if (l == '\n' || l == '\r') return attached ? Left::kSign : Left::kFree;  // "- 5" is a list item
    if (is_digit(l) || is_closing(l) || is_variable(s, left)) return Left::kInside;
    if (is_letter(l) && left + 1 == at) return Left::kFree;  // COVID-19
    return attached ? Left::kSign : Left::kFree;
  }
  if (c == '^' || c == '_' || c == '/') return Left::kInside;
  if (attached && (is_letter(c) || c == '\\' || c == '{' || c == '.')) return Left::kInside;
  if (attached && c == ':' && is_digit(l)) return Left::kInside;  // 3:30
  // One star between operands is a product; markdown's stars stand at a line's start or around the number.
  if (c == '*' && l != '*' && (is_digit(l) || is_closing(l) || (left != kNone && is_variable(s, left))))
    return Left::kInside;
  const bool is_or = !attached && at >= 1 && (c == 'r' || c == 'R') && (s[at - 1] == 'o' || s[at - 1] == 'O') &&
                     (at < 2 || s[at - 2] == ' ');
  if (is_or && at >= 2 && before_blank(s, at - 1) + 1 == earlier_end && earlier_end > 0) return Left::kSeveral;
  return Left::kFree;
}

}  // namespace

ExtractedAnswer last_number(std::string_view s) {
  const auto [last, earlier] = find_literals(s);
  if (last.begin == kNone) return refused("no_answer");
  const char before = last.begin > 0 ? s[last.begin - 1] : ' ';
  if (before == '{' || before == '}' || (last.end < s.size() && s[last.end] == '}')) {
    const std::string_view fraction = fraction_around(s, last.begin, last.end);
    if (!fraction.empty() && parse_number(clean_answer(fraction))) return found(fraction);
    if (before != '}') return refused("inside_expression");
  }
  const std::size_t stop = right_side(s, last.end);
  if (stop == kNone) return refused("inside_expression");
  std::size_t start = last.begin;
  const bool fraction = s.substr(last.begin, last.end - last.begin).find('/') != kNone;
  if (fraction && earlier.begin != kNone && earlier.end + 1 == last.begin && s[earlier.end] == ' ' &&
      parse_number(s.substr(earlier.begin, last.end - earlier.begin))) {
    start = earlier.begin;  // 1 1/2
  }
  if (start > 0 && s[start - 1] == '$') {
    start -= start > 1 && s[start - 2] == '\\' ? 2 : 1;
  }
  switch (left_side(s, start, earlier.end)) {
    case Left::kInside: return refused("inside_expression");
    case Left::kSeveral: return refused("several");
    case Left::kSign: start = before_blank(s, start); break;
    case Left::kFree: break;
  }
  return found(s.substr(start, stop - start));
}

}  // namespace r1
