#include "rewards/number.h"

#include <algorithm>

#include "core/error.h"
#include "rewards/completion_text.h"
#include "rewards/number_tail.h"
#include "rewards/units.h"

namespace r1 {
namespace {

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

std::size_t digits_end(std::string_view s, std::size_t i) {
  while (i < s.size() && is_digit(s[i])) ++i;
  return i;
}

mpz_class power_of_ten(unsigned long exponent) {
  mpz_class out;
  mpz_ui_pow_ui(out.get_mpz_t(), 10, exponent);
  return out;
}

// Reads numbers from the front of a text. Every read_ function leaves the position alone when it fails.
class NumberReader {
 public:
  explicit NumberReader(std::string_view text) : s_(text) {}

  std::optional<Number> read() {
    Number out;
    skip_spaces();
    bool negative = read_sign();
    std::string currency = read_currency();
    if (!negative) negative = read_sign();
    if (currency.empty()) currency = read_currency();
    if (!read_magnitude(out)) return std::nullopt;
    if (negative) out.value = -out.value;
    if (!read_number_tail(s_.substr(i_), out)) return std::nullopt;
    if (!currency.empty()) out.unit = currency;
    return out;
  }

 private:
  bool at(std::string_view word) const { return s_.substr(i_).starts_with(word); }
  void skip_spaces() {
    while (i_ < s_.size() && (s_[i_] == ' ' || s_[i_] == '\t' || s_[i_] == '\n' || s_[i_] == '\r')) ++i_;
  }
  bool read_sign() {
    if (i_ >= s_.size() || (s_[i_] != '-' && s_[i_] != '+')) return false;
    const bool negative = s_[i_++] == '-';
    skip_spaces();
    return negative;
  }
  std::string read_currency() {
    for (const std::string_view symbol : {"US$", "USD", "$", "\xE2\x82\xAC", "\xC2\xA3", "\xC2\xA5", "\xE2\x82\xB9"}) {
      if (!at(symbol)) continue;
      i_ += symbol.size();
      skip_spaces();
      return canonical_unit(symbol == "US$" ? "$" : symbol).value_or("");
    }
    return {};
  }

  // Decimal or integer literal without sign.
  bool read_literal(Literal& out) {
    const std::size_t end = literal_end(s_, i_, true);
    if (end == i_ || !r1::read_literal(s_.substr(i_, end - i_), out)) return false;
    i_ = end;
    return true;
  }

  // {12}, 12 or one digit: an argument of \frac. `braces_only` = the second form of TeX, a single digit.
  bool read_argument(mpq_class& out) {
    const std::size_t start = i_;
    skip_spaces();
    Number n;
    if (i_ < s_.size() && is_digit(s_[i_])) {
      out = s_[i_++] - '0';
      return true;
    }
    if (i_ < s_.size() && s_[i_] == '{') {
      ++i_;
      skip_spaces();
      const bool negative = read_sign();
      if (read_literal(n)) {
        skip_spaces();
        if (i_ < s_.size() && s_[i_] == '}') {
          ++i_;
          out = negative ? mpq_class(-n.value) : n.value;
          return true;
        }
      }
    }
    i_ = start;
    return false;
  }
  bool read_latex_fraction(mpq_class& out) {
    const std::size_t start = i_;
    mpq_class top, bottom;
    if (at("\\frac")) {
      i_ += 5;
      if (read_argument(top) && read_argument(bottom) && bottom != 0) {
        out = top / bottom;
        return true;
      }
    }
    i_ = start;
    return false;
  }

  // A small integer exponent: 3, -3, {3}, {-3}, (3).
  bool read_exponent(long& out) {
    const std::size_t start = i_;
    skip_spaces();
    char close = '\0';
    if (i_ < s_.size() && (s_[i_] == '{' || s_[i_] == '(')) close = s_[i_++] == '{' ? '}' : ')';
    skip_spaces();
    const bool negative = read_sign();
    const std::size_t end = digits_end(s_, i_);
    if (end == i_ || end - i_ > 4) return i_ = start, false;
    // TeX takes one token where there are no braces, people mean the whole number; ^10 is read as people mean it.
    out = std::stol(std::string(s_.substr(i_, end - i_)));
    i_ = end;
    if (close) {
      skip_spaces();
      if (i_ >= s_.size() || s_[i_] != close) return i_ = start, false;
      ++i_;
    }
    if (negative) out = -out;
    if (out > kMaxExponent || out < -kMaxExponent) return i_ = start, false;
    return true;
  }
  static void scale(Number& n, long exponent) {
    const mpz_class factor = power_of_ten(static_cast<unsigned long>(std::abs(exponent)));
    if (exponent >= 0) n.value *= factor;
    else n.value /= factor;
    n.places -= static_cast<int>(exponent);
    if (exponent < 0) n.decimal = true;
  }

  bool read_magnitude(Number& out) {
    if (read_latex_fraction(out.value)) return true;
    const std::size_t begin = i_;
    if (!read_literal(out)) return false;
    const bool whole = !out.decimal && out.value.get_den() == 1;
    const std::size_t after = i_;
    if (i_ < s_.size() && (s_[i_] == 'e' || s_[i_] == 'E')) {  // 1.5e3
      long exponent = 0;
      ++i_;
      if (i_ < s_.size() && s_[i_] != ' ' && s_[i_] != '{' && s_[i_] != '(' && read_exponent(exponent)) {
        scale(out, exponent);
        return true;
      }
      i_ = after;
    }
    skip_spaces();
    if (at("*")) {  // 1.5*10^{3}
      ++i_;
      skip_spaces();
      long exponent = 0;
      if (at("10")) {
        i_ += 2;
        skip_spaces();
        if (at("^")) {
          ++i_;
          if (read_exponent(exponent)) return scale(out, exponent), true;
        }
      }
      i_ = after;
      return true;  // the tail refuses the rest
    }
    if (at("^") && !at("^\\")) {  // 2^{10}
      ++i_;
      long exponent = 0;
      if (whole && read_exponent(exponent) &&
          mpz_sizeinbase(out.value.get_num_mpz_t(), 2) * std::abs(exponent) <= 4096 &&
          (exponent > 0 || out.value != 0)) {  // 0^0 is no number
        mpz_class power;
        mpz_pow_ui(power.get_mpz_t(), out.value.get_num_mpz_t(), static_cast<unsigned long>(std::abs(exponent)));
        out.value = exponent >= 0 ? mpq_class(power) : mpq_class(1) / power;
        out.significant = 0;
        return true;
      }
      i_ = after;
      return true;
    }
    if (at("/")) {  // a/b
      ++i_;
      skip_spaces();
      Number bottom;
      if (i_ < s_.size() && (is_digit(s_[i_]) || s_[i_] == '.')) {
        if (!read_literal(bottom) || bottom.value == 0) return false;
        out.value /= bottom.value;
        out.decimal = false;
        out.significant = 0;
        return true;
      }
      i_ = after;  // "5/day": the tail's business
      return true;
    }
    if (whole) {  // mixed numbers
      mpq_class fraction;
      if (read_latex_fraction(fraction)) {
        if (fraction <= 0 || fraction >= 1) return false;  // 2\frac{3}{2} is a product
      } else if (i_ > after && i_ < s_.size() && is_digit(s_[i_])) {
        const std::size_t top_end = digits_end(s_, i_);
        Number top, bottom;
        if (top_end >= s_.size() || s_[top_end] != '/' || !read_literal(top)) return false;
        ++i_;
        if (!read_literal(bottom) || bottom.value == 0 || top.value >= bottom.value) return false;
        fraction = top.value / bottom.value;
      } else {
        i_ = after;
        return true;
      }
      out.value += fraction;
      out.significant = 0;
      return true;
    }
    i_ = after;
    return i_ > begin;
  }

  std::string_view s_;
  std::size_t i_ = 0;
};

}  // namespace

std::optional<Number> parse_number(std::string_view text) {
  text = trim(text);
  // Pairs of brackets around the whole: (5), {5}. A tuple has commas and stays a text.
  for (int depth = 0; depth < 4 && text.size() > 2; ++depth) {
    const char open = text.front();
    if ((open != '(' && open != '{') || text.back() != (open == '(' ? ')' : '}')) break;
    const std::string_view inner = text.substr(1, text.size() - 2);
    if (inner.find_first_of("(){},") != std::string_view::npos) break;
    text = trim(inner);
  }
  if (text.empty() || text.size() > kMaxNumberDigits + 500) return std::nullopt;
  return NumberReader(text).read();
}

std::size_t number_literal_end(std::string_view s, std::size_t begin) {
  std::size_t end = literal_end(s, begin, true);
  if (end < s.size() && (s[end] == 'e' || s[end] == 'E')) {
    std::size_t i = end + 1;
    if (i < s.size() && (s[i] == '+' || s[i] == '-')) ++i;
    const std::size_t last = digits_end(s, i);
    if (last > i && (last >= s.size() || !is_letter(s[last]))) return last;
  }
  if (end + 1 < s.size() && s[end] == '/' && is_digit(s[end + 1])) end = literal_end(s, end + 1, true);
  return end;
}

std::string to_string(const Number& n) {
  // Tables are for people: a 1,000-digit number is cut.
  std::string out = n.value.get_str();
  if (out.size() > 60) out = out.substr(0, 40) + message("... (", out.size(), " characters)");
  if (n.percent) out += "%";
  if (!n.unit.empty()) out += " " + n.unit;
  return out;
}

}  // namespace r1
