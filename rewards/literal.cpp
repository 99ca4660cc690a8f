#include "rewards/literal.h"

#include <algorithm>
#include <string>

namespace r1 {
namespace {

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::size_t digits_end(std::string_view s, std::size_t i) {
  while (i < s.size() && is_digit(s[i])) ++i;
  return i;
}

// The end of \overline{12}, \dot{3} or \dot{1}2\dot{3} at `i`, or `i`.
std::size_t repeat_end(std::string_view s, std::size_t i) {
  static constexpr std::string_view kOver = "\\overline{", kDot = "\\dot{";
  const std::string_view rest = s.substr(i);
  if (rest.starts_with(kOver)) {
    const std::size_t end = digits_end(s, i + kOver.size());
    return end > i + kOver.size() && end < s.size() && s[end] == '}' ? end + 1 : i;
  }
  const auto dotted = [&](std::size_t at) {  // \dot{d}
    return s.substr(std::min(at, s.size())).starts_with(kDot) && at + 6 < s.size() && is_digit(s[at + 5]) && s[at + 6] == '}';
  };
  if (!dotted(i)) return i;
  const std::size_t second = digits_end(s, i + 7);
  return dotted(second) ? second + 7 : i + 7;
}

mpz_class power_of_ten(std::size_t exponent) {
  mpz_class out;
  mpz_ui_pow_ui(out.get_mpz_t(), 10, exponent);
  return out;
}

}  // namespace

std::size_t literal_end(std::string_view s, std::size_t begin, bool commas) {
  std::size_t end = digits_end(s, begin);
  if (commas && end > begin && end - begin <= 3) {
    while (end < s.size() && s[end] == ',' && digits_end(s, end + 1) == end + 4) end += 4;
  }
  if (end + 1 >= s.size() || s[end] != '.') return end;
  const std::size_t last = digits_end(s, end + 1), repeat = repeat_end(s, last);
  return repeat > end + 1 ? repeat : end;
}

bool read_literal(std::string_view text, Literal& out) {
  if (text.empty()) return false;
  if (text.size() <= 18 && digits_end(text, 0) == text.size()) {
    long value = 0;
    for (const char c : text) value = 10 * value + (c - '0');
    out.value = value;
    out.significant = static_cast<int>(text.size() - std::min(text.find_first_not_of('0'), text.size()));
    return true;
  }
  std::string digits, repeat;
  std::size_t places = 0, i = 0;
  for (; i < text.size() && text[i] != '.'; ++i) {
    if (text[i] != ',') digits += text[i];
  }
  if (i < text.size()) {
    const std::size_t last = digits_end(text, ++i);
    places = last - i;
    digits.append(text.substr(i, places));
    for (const char c : text.substr(last)) {
      if (is_digit(c)) repeat += c;
    }
  }
  if (digits.size() + repeat.size() > kMaxNumberDigits || digits_end(digits, 0) != digits.size()) return false;
  out.value = mpq_class(mpz_class(digits.empty() ? "0" : digits, 10), power_of_ten(places));
  if (!repeat.empty())
    out.value += mpq_class(mpz_class(repeat, 10), power_of_ten(places) * (power_of_ten(repeat.size()) - 1));
  out.value.canonicalize();
  out.places = static_cast<int>(places);
  out.decimal = places > 0 && repeat.empty();
  out.significant = static_cast<int>(digits.size() - std::min(digits.find_first_not_of('0'), digits.size()));
  return true;
}

}  // namespace r1
