#include "rewards/math/token.h"

#include <algorithm>
#include <span>
#include <utility>

#include "rewards/literal.h"

namespace r1::math {
namespace {

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_capital(char c) { return c >= 'A' && c <= 'Z'; }
constexpr bool is_letter(char c) { return (c >= 'a' && c <= 'z') || is_capital(c); }

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
    {"\u6216", "or"}, {"\u548C", "and"},  {"\u2115", "N"},     {"\u2124", "Z"},     {"\u211A", "Q"},
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
  explicit Lexer(const CleanAnswer& a) : s_(a.text), upright_(a.upright), spaced_comma_(has_spaced_comma(a.text)) {}

  Tokens run() {
    if (s_.size() > kMaxAnswerBytes) out_.why = "too_long";
    else out_.list.reserve(s_.size() + 1);
    while (out_.why.empty() && i_ < s_.size()) step();
    push(Token::kEnd, {}, i_);
    return std::move(out_);
  }

 private:
  Token& push(Token::Type type, std::string_view text, std::size_t at) {
    out_.list.push_back({type, text, space_, false, 0, static_cast<std::uint32_t>(at)});
    space_ = false;
    return out_.list.back();
  }

  bool is_upright(std::size_t at) {
    while (span_ < upright_.size() && upright_[span_].second <= at) ++span_;
    return span_ < upright_.size() && upright_[span_].first <= at;
  }

  void number() {
    const std::size_t begin = i_;
    // (100,200) is a point, 100,200 a number, (1,000, 2,000) two of them.
    i_ = literal_end(s_, i_, brackets_ == 0 || spaced_comma_);
    push(Token::kNumber, s_.substr(begin, i_ - begin), begin);
  }

  void word() {
    const std::size_t begin = i_;
    while (i_ < s_.size() && is_letter(s_[i_])) ++i_;
    const std::string_view word = s_.substr(begin, i_ - begin);
    const bool upright = is_upright(begin);
    if (word.size() > 1) {
      if (word == "and" || word == "or" || word == "And" || word == "Or") {
        push(Token::kCommand, word == "and" || word == "And" ? "and" : "or", begin);
        return;
      }
      const std::string_view command = look_up(kNames, word);
      // Three names are units too; in \text they are that.
      const bool unit = word == "in" || word == "min" || word == "sec" || word == "cup";
      if (!command.empty() && !(upright && unit)) {
        push(Token::kCommand, command, begin);
        return;
      }
      const bool name = is_capital(word[0]) && !is_capital(word[1]);
      if (word.size() > 3 || upright || name) {
        push(Token::kWord, word, begin).upright = upright;
        return;
      }
    }
    for (std::size_t k = 0; k < word.size(); ++k) {
      Token& t = push(Token::kLetter, word.substr(k, 1), begin + k);
      t.upright = upright;
      t.run = static_cast<std::uint8_t>(word.size() - k);
    }
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
      push(Token::kSign, sign, i_ - 2);
      return;
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
          if (name != "mathbb") push(Token::kCommand, name, begin);
          push(Token::kCommand, s_.substr(open + 1, close - open - 1), open + 1);
          return;
        }
      }
      if (name == "mathbb" && open != std::string_view::npos && is_capital(s_[open])) {  // \mathbb R
        i_ = open + 1;
        push(Token::kCommand, s_.substr(open, 1), open);
        return;
      }
      out_.why = "character";
      return;
    }
    push(Token::kCommand, name, begin - 1);
  }

  void step() {
    const char c = s_[i_];
    if (c == ' ') {
      ++i_;
      space_ = true;
    } else if (is_digit(c) || (c == '.' && literal_end(s_, i_, false) > i_)) {
      number();
    } else if (is_letter(c)) {
      word();
    } else if (c == '\\') {
      command();
    } else if (static_cast<unsigned char>(c) >= 0x80) {
      std::size_t end = i_ + 1;
      while (end < s_.size() && (static_cast<unsigned char>(s_[end]) & 0xC0) == 0x80) ++end;
      const std::string_view known = look_up(kUnicode, s_.substr(i_, end - i_));
      if (known.empty()) out_.why = "word";
      else push(Token::kCommand, known, i_);
      i_ = end;
    } else {
      if (c == '(' || c == '[') ++brackets_;
      if (c == ')' || c == ']') --brackets_;
      const std::string_view two = s_.substr(i_, 2), three = s_.substr(i_, 3);
      std::size_t width = 1;
      if (three == "...") width = 3;
      else if (two == "<=" || two == ">=" || two == "!=" || two == "**" || two == "->") width = 2;
      const std::string_view sign = s_.substr(i_, width);
      if (sign == "...") push(Token::kCommand, "ldots", i_);
      else if (sign == "**") push(Token::kSign, "^", i_);
      else if (sign == "->") push(Token::kCommand, "to", i_);
      else push(Token::kSign, sign, i_);
      i_ += width;
    }
  }

  std::string_view s_;
  std::span<const std::pair<std::uint32_t, std::uint32_t>> upright_;
  std::size_t span_ = 0;  // in upright_
  bool spaced_comma_;
  std::size_t i_ = 0;
  int brackets_ = 0;
  bool space_ = false;
  Tokens out_;
};

}  // namespace

Tokens tokenize(const CleanAnswer& answer) { return Lexer(answer).run(); }

}  // namespace r1::math
