#include "rewards/expression.h"

namespace r1 {
namespace {

class Parser {
 public:
  explicit Parser(std::string_view text) : s_(text) {}

  Expression run() {
    Expression out;
    if (s_.size() > kMaxExpressionBytes) {
      why_ = "too_long";
    } else {
      out.value = sum();
      skip();
      if (why_.empty() && i_ != s_.size()) why_ = "syntax";
    }
    out.ok = why_.empty();
    out.why = why_;
    out.numbers = std::move(numbers_);
    return out;
  }

 private:
  mpq_class fail(std::string_view why) {
    if (why_.empty()) why_ = why;
    i_ = s_.size();
    return 0;
  }
  void skip() {
    for (;;) {
      while (i_ < s_.size() && (s_[i_] == ' ' || s_[i_] == '\t' || s_[i_] == '\n' || s_[i_] == '\r')) ++i_;
      const std::string_view rest = s_.substr(i_);
      if (rest.starts_with("\\left")) i_ += 5;
      else if (rest.starts_with("\\right")) i_ += 6;
      else return;
    }
  }
  // The operator at the position as one of + - * /, or 0; moves past it.
  char take(std::string_view wanted) {
    skip();
    if (i_ >= s_.size()) return '\0';
    char c = s_[i_];
    std::size_t width = 1;
    const std::string_view rest = s_.substr(i_);
    if (rest.starts_with("\\times")) c = '*', width = 6;
    else if (rest.starts_with("\\cdot")) c = '*', width = 5;
    else if (rest.starts_with("\\div")) c = '/', width = 4;
    else if (rest.starts_with("**") || rest.starts_with("//")) return '\0';
    if (wanted.find(c) == std::string_view::npos) return '\0';
    i_ += width;
    return c;
  }
  mpq_class sum() {
    mpq_class value = product();
    while (const char op = take("+-")) {
      const mpq_class right = product();
      if (op == '+') value += right;
      else value -= right;
    }
    return value;
  }
  mpq_class product() {
    mpq_class value = signed_factor();
    while (const char op = take("*/")) {
      const mpq_class right = signed_factor();
      if (!why_.empty()) return 0;
      if (op == '*') value *= right;
      else if (right == 0) return fail("division_by_zero");
      else value /= right;
    }
    return value;
  }
  mpq_class signed_factor() {
    bool negative = false;
    while (const char sign = take("+-")) negative ^= sign == '-';
    const mpq_class value = factor();
    return negative ? mpq_class(-value) : value;
  }
  mpq_class factor() {
    skip();
    if (i_ >= s_.size()) return fail("syntax");
    if (s_[i_] == '(' || s_[i_] == '[') {
      if (++depth_ > kMaxExpressionDepth) return fail("too_deep");
      const char close = s_[i_++] == '(' ? ')' : ']';
      const mpq_class value = sum();
      skip();
      if (i_ >= s_.size() || s_[i_] != close) return fail("syntax");
      ++i_;
      --depth_;
      return value;
    }
    const std::size_t begin = i_;
    while (i_ < s_.size() && s_[i_] >= '0' && s_[i_] <= '9') ++i_;
    if (i_ == begin) return fail("syntax");
    if (i_ - begin > kMaxExpressionDigits) return fail("too_long");
    std::string_view digits = s_.substr(begin, i_ - begin);
    while (digits.size() > 1 && digits[0] == '0') digits.remove_prefix(1);
    numbers_.emplace_back(digits);
    return mpq_class(mpz_class(numbers_.back(), 10));
  }

  std::string_view s_;
  std::size_t i_ = 0;
  int depth_ = 0;
  std::string_view why_;
  std::vector<std::string> numbers_;
};

}  // namespace

Expression evaluate_expression(std::string_view text) { return Parser(text).run(); }

}  // namespace r1
