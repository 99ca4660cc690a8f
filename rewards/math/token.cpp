#include "rewards/math/token.h"

#include <algorithm>
#include <utility>

namespace r1::math {
namespace {

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

using Row = std::pair<std::string_view, std::string_view>;

// Plain-text names -> command.
constexpr Row kNames[] = {
    {"sqrt", "sqrt"},     {"cbrt", "cbrt"},     {"pi", "pi"},         {"Pi", "pi"},         {"exp", "exp"},
    {"log", "log"},       {"ln", "ln"},         {"lg", "lg"},         {"sin", "sin"},       {"cos", "cos"},
    {"tan", "tan"},       {"cot", "cot"},       {"sec", "sec"},       {"csc", "csc"},       {"arcsin", "arcsin"},
    {"arccos", "arccos"}, {"arctan", "arctan"}, {"asin", "arcsin"},   {"acos", "arccos"},   {"atan", "arctan"},
    {"sinh", "sinh"},     {"cosh", "cosh"},     {"tanh", "tanh"},     {"abs", "abs"},       {"floor", "floor"},
    {"ceil", "ceil"},     {"inf", "infty"},     {"infinity", "infty"}, {"Infinity", "infty"}, {"oo", "infty"},
    {"in", "in"},         {"cup", "cup"},       {"union", "cup"},     {"gcd", "gcd"},       {"lcm", "lcm"},
    {"max", "max"},       {"min", "min"},       {"theta", "theta"},   {"alpha", "alpha"},   {"beta", "beta"},
};

// Unicode signs -> command or ASCII sign.
constexpr Row kUnicode[] = {
    {"\u03C0", "pi"},  {"\u221A", "sqrt"}, {"\u221E", "infty"}, {"\u2264", "le"},    {"\u2265", "ge"},
    {"\u2260", "ne"},  {"\u222A", "cup"},  {"\u2208", "in"},    {"\u00B1", "pm"},    {"\u2213", "mp"},
    {"\u2192", "to"},  {"\u21A6", "mapsto"}, {"\u03B8", "theta"}, {"\u03B1", "alpha"}, {"\u03B2", "beta"},
    {"\u2026", "ldots"}, {"\u22EF", "ldots"}, {"\u27E8", "langle"}, {"\u27E9", "rangle"}, {"\u3001", "and"},
    {"\u6216", "and"}, {"\u548C", "and"},  {"\u2115", "N"},     {"\u2124", "Z"},     {"\u211A", "Q"},
    {"\u211D", "R"},
};

template <std::size_t N>
std::string_view look_up(const Row (&table)[N], std::string_view key) {
  const auto it = std::find_if(std::begin(table), std::end(table), [&](const Row& r) { return r.first == key; });
  return it == std::end(table) ? std::string_view() : it->second;
}

// Does a comma with a space behind it stand in the text? Then a comma without one may separate thousands in brackets.
bool has_spaced_comma(std::string_view s) {
  for (std::size_t i = s.find(','); i != std::string_view::npos; i = s.find(',', i + 1)) {
    if (i + 1 < s.size() && s[i + 1] == ' ') return true;
  }
  return false;
}

class Lexer {
 public:
  explicit Lexer(std::string_view text) : s_(text), spaced_comma_(has_spaced_comma(text)) {}

  Tokens run() {
    if (s_.size() > kMaxAnswerBytes) out_.why = "too_long";
    while (out_.why.empty() && i_ < s_.size()) step();
    push(Token::kEnd, {});
    return std::move(out_);
  }

 private:
  void push(Token::Type type, std::string_view text) {
    out_.list.push_back({type, text, space_});
    space_ = false;
  }

  std::size_t digits_end(std::size_t i) const {
    while (i < s_.size() && is_digit(s_[i])) ++i;
    return i;
  }

  void number() {
    const std::size_t begin = i_;
    std::size_t end = digits_end(i_);
    // (100,200) is a point, 100,200 a number, (1,000, 2,000) two of them.
    if ((brackets_ == 0 || spaced_comma_) && end > begin && end - begin <= 3) {
      while (end < s_.size() && s_[end] == ',' && digits_end(end + 1) == end + 4) end += 4;
    }
    if (end + 1 < s_.size() && s_[end] == '.' && is_digit(s_[end + 1])) end = digits_end(end + 1);
    i_ = end;
    push(Token::kNumber, s_.substr(begin, end - begin));
  }

  void word() {
    const std::size_t begin = i_;
    while (i_ < s_.size() && is_letter(s_[i_])) ++i_;
    const std::string_view word = s_.substr(begin, i_ - begin);
    if (word == "and" || word == "or" || word == "And" || word == "Or") return push(Token::kCommand, "and");
    if (const std::string_view command = look_up(kNames, word); !command.empty())
      return push(Token::kCommand, command);
    if (word.size() > 3) {
      out_.why = "word";
      return;
    }
    for (std::size_t k = 0; k < word.size(); ++k) push(Token::kLetter, word.substr(k, 1));
  }

  void command() {
    if (i_ + 1 >= s_.size()) {
      out_.why = "character";
      return;
    }
    if (!is_letter(s_[i_ + 1])) {
      const std::string_view sign = s_.substr(i_, 2);
      i_ += 2;
      if (sign == "\\{") ++brackets_;
      if (sign == "\\}") --brackets_;
      return push(Token::kSign, sign);
    }
    const std::size_t begin = ++i_;
    while (i_ < s_.size() && is_letter(s_[i_])) ++i_;
    const std::string_view name = s_.substr(begin, i_ - begin);
    // The name of an environment or an alphabet belongs to its command: \begin{pmatrix}, \mathbb{R}.
    if (name == "begin" || name == "end" || name == "mathbb") {
      const std::size_t open = s_.find_first_not_of(' ', i_);
      if (open != std::string_view::npos && s_[open] == '{') {
        const std::size_t close = s_.substr(0, std::min(s_.size(), open + 16)).find('}', open);
        if (close != std::string_view::npos) {
          i_ = close + 1;
          if (name != "mathbb") push(Token::kCommand, name);
          return push(Token::kCommand, s_.substr(open + 1, close - open - 1));
        }
      }
      out_.why = "character";
      return;
    }
    push(Token::kCommand, name);
  }

  void step() {
    const char c = s_[i_];
    if (c == ' ') {
      ++i_;
      space_ = true;
    } else if (is_digit(c) || (c == '.' && i_ + 1 < s_.size() && is_digit(s_[i_ + 1]))) {
      number();
    } else if (is_letter(c)) {
      word();
    } else if (c == '\\') {
      command();
    } else if (static_cast<unsigned char>(c) >= 0x80) {
      std::size_t end = i_ + 1;
      while (end < s_.size() && (static_cast<unsigned char>(s_[end]) & 0xC0) == 0x80) ++end;
      const std::string_view known = look_up(kUnicode, s_.substr(i_, end - i_));
      i_ = end;
      if (known.empty()) out_.why = "word";
      else push(Token::kCommand, known);
    } else {
      if (c == '(' || c == '[') ++brackets_;
      if (c == ')' || c == ']') --brackets_;
      const std::string_view two = s_.substr(i_, 2), three = s_.substr(i_, 3);
      std::size_t width = 1;
      if (three == "...") width = 3;
      else if (two == "<=" || two == ">=" || two == "!=" || two == "**" || two == "->") width = 2;
      const std::string_view sign = s_.substr(i_, width);
      i_ += width;
      if (sign == "...") push(Token::kCommand, "ldots");
      else if (sign == "**") push(Token::kSign, "^");
      else if (sign == "->") push(Token::kCommand, "to");
      else push(Token::kSign, sign);
    }
  }

  std::string_view s_;
  bool spaced_comma_;
  std::size_t i_ = 0;
  int brackets_ = 0;
  bool space_ = false;
  Tokens out_;
};

}  // namespace

Tokens tokenize(std::string_view text) { return Lexer(text).run(); }

}  // namespace r1::math
