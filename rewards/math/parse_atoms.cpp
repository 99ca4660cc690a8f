// What a factor may be: numbers, names, groups, commands, functions, matrices. Part of the parser, see parser_impl.h.
#include <algorithm>
#include <utility>

#include "rewards/math/parse_tables.h"
#include "rewards/math/parser_impl.h"

namespace r1::math {
namespace {

constexpr bool is_capital(char c) { return c >= 'A' && c <= 'Z'; }

}  // namespace

// An atom with what stands behind it: ! degrees ^.
std::uint32_t Parser::power() {
  std::uint32_t base = atom();
  while (out_.ok()) {
    if (take("!")) {
      base = call(Function::kFactorial, {base});
    } else if (peek().is("^") && (peek(1).is("circ") || (peek(1).is("{") && peek(2).is("circ") && peek(3).is("}")))) {
      at_ += peek(1).is("circ") ? 2 : 4;
      base = call(Function::kDegrees, {base});
    } else if (take("^")) {
      base = node(NodeKind::kPower, {base, exponent()});
    } else {
      break;
    }
  }
  return base;
}

std::uint32_t Parser::exponent() {
  if (!deeper()) return 0;
  bool negative = false;
  while (peek().is("-") || peek().is("+")) negative ^= tokens_[at_++].text == "-";
  std::uint32_t e = atom();
  if (take("^")) e = node(NodeKind::kPower, {e, exponent()});  // towers lean right
  --depth_;
  return negative ? node(NodeKind::kNegation, {e}) : e;
}

std::uint32_t Parser::atom() {
  if (!out_.ok()) return 0;
  const Token t = peek();
  ++at_;
  switch (t.type) {
    case Token::kNumber: return number_atom(t.text);
    case Token::kLetter:
      if (t.text == "e" && !peek().is("_")) return node(NodeKind::kConstant, {}, static_cast<int>(Constant::kE));
      if (t.text == "i" && !peek().is("_")) return node(NodeKind::kConstant, {}, static_cast<int>(Constant::kI));
      return symbol(std::string(t.text));
    case Token::kCommand: return command(t.text);
    case Token::kSign:
      if (t.text == "(" || t.text == "[" || t.text == "{" || t.text == "\\{") return bracket(t.text);
      if (t.text == "|" || t.text == "\\|") return bars();
      return fail("syntax");
    case Token::kWord: return fail("word");
    default: return fail("syntax");
  }
}

std::uint32_t Parser::symbol(std::string name) {
  if (take("_")) {  // x_1, x_{10}: one name, spelt without spaces
    name += '_';
    int depth = 0;
    do {
      const Token& t = peek();
      if (t.type == Token::kEnd) return fail("syntax");
      if (t.is("{")) ++depth;
      else if (t.is("}")) --depth;
      else name += t.text;
      ++at_;
    } while (depth > 0);
  }
  while (take("'")) name += '\'';
  return named(NodeKind::kSymbol, std::move(name), {});
}

// \vec{v}, \overline{AB}: a name of its own, other than v or AB.
std::uint32_t Parser::accented(std::string_view command) {
  std::string name(command);
  name += ':';
  int depth = 0;
  do {
    const Token& t = peek();
    if (t.type == Token::kEnd) return fail("syntax");
    if (t.is("{")) ++depth;
    else if (t.is("}")) --depth;
    else name += t.text;
    ++at_;
  } while (depth > 0);
  return symbol(std::move(name));
}

std::uint32_t Parser::number_atom(std::string_view text) {
  const bool whole = text.find('.') == std::string_view::npos;
  std::size_t letters = 0;  // 152A_{11}
  while (whole && letters < 12 && peek(letters).type == Token::kLetter && !peek(letters).space && is_capital(peek(letters).text[0]))
    ++letters;
  if (whole && peek(letters).is("_")) {  // but 2A_1 is a product
    const Token& base = peek(letters + (peek(letters + 1).is("{") ? 2 : 1));
    if (letters == 0 || (base.type == Token::kNumber && base.text.size() == 2)) return based(text);
  }
  const std::uint32_t value = number(text);
  if (!whole || !out_.ok()) return value;
  const auto fraction_of = [&](std::uint32_t top, std::uint32_t bottom) -> std::uint32_t {
    const Tree& t = out_.tree;
    if (!out_.ok() || t.numbers[t.nodes[top].data].value >= t.numbers[t.nodes[bottom].data].value) return fail("syntax");
    const std::uint32_t fraction = node(NodeKind::kProduct, {top, node(NodeKind::kReciprocal, {bottom})});
    return group(node(NodeKind::kSum, {value, fraction}));
  };
  const auto is_whole = [&](std::size_t k) {
    return peek(k).type == Token::kNumber && peek(k).text.find('.') == std::string_view::npos;
  };
  if (is_whole(0) && peek().space && peek(1).is("/") && is_whole(2)) {  // 2 1/3
    at_ += 3;
    const std::uint32_t top = number(tokens_[at_ - 3].text);
    return fraction_of(top, number(tokens_[at_ - 1].text));
  }
  if (!peek().is("frac")) return value;
  const std::size_t here = at_;
  ++at_;
  const std::uint32_t top = argument(), bottom = argument();
  if (!out_.ok()) return 0;  // the position must stay at the end
  const auto plain = [&](std::uint32_t n) {
    const Tree& t = out_.tree;
    return out_.ok() && t.nodes[n].kind == NodeKind::kNumber && t.numbers[t.nodes[n].data].places == 0;
  };
  if (plain(top) && plain(bottom)) return fraction_of(top, bottom);  // 2\frac{1}{3}
  at_ = here;
  return value;
}

// 101_2, 2516_{8}, 152A_{11}: digits that keep their base.
std::uint32_t Parser::based(std::string_view text) {
  std::string digits(text);
  std::erase(digits, ',');
  for (; peek().type == Token::kLetter; ++at_) digits += peek().text;
  ++at_;  // _
  const bool brace = take("{");
  const std::string_view name = peek().text;  // ".5" is a number too, of no use here
  if (peek().type != Token::kNumber || name.size() > 2 || name.find('.') != std::string_view::npos) return fail("syntax");
  const int base = std::stoi(std::string(peek().text));
  ++at_;
  if (brace && !expect("}")) return 0;
  Literal value;
  mpz_class whole;
  if (base < 2 || base > 36 || digits.size() > kMaxNumberDigits || whole.set_str(digits, base) != 0) return fail("syntax");
  value.value = whole;
  out_.tree.numbers.push_back(std::move(value));
  const auto n = node(NodeKind::kNumber, {}, 0, static_cast<std::uint32_t>(out_.tree.numbers.size() - 1));
  return base == 10 ? n : node(NodeKind::kBased, {n}, 0, static_cast<std::uint32_t>(base));
}

std::uint32_t Parser::bracket(std::string_view open) {
  const int bars = std::exchange(bars_, 0);
  const bool set = open == "\\{";
  if (set && take("\\}")) {
    bars_ = bars;
    return node(NodeKind::kSet, {});
  }
  Kids kids = {relation()};
  while (take(",") || take(";") || (set && (take("and") || take("or")))) kids.push_back(relation());
  bars_ = bars;
  if (set) return expect("\\}") ? node(NodeKind::kSet, kids) : 0;
  if (open == "{") {
    if (!expect("}")) return 0;
    return kids.size() == 1 ? group(kids[0]) : node(NodeKind::kSet, kids);  // {1,2} without backslashes
  }
  const bool round = peek().is(")");
  if (!round && !peek().is("]")) return fail("syntax");
  ++at_;
  if (kids.size() == 1 && (open == "(") == round) return group(kids[0]);
  if (kids.size() == 1) return fail("syntax");
  return named(NodeKind::kBracketed, std::string(open) + (round ? ')' : ']'), kids);
}

std::uint32_t Parser::bars() {
  if (!deeper()) return 0;
  ++bars_;
  const std::uint32_t inside = sum();
  --bars_;
  --depth_;
  if (!take("|") && !take("\\|")) return fail("syntax");
  return call(Function::kAbs, {inside});
}

// TeX's argument: a group, or one digit, letter or command. People's sqrt(2) too.
std::uint32_t Parser::argument() {
  if (peek().type == Token::kNumber && peek().text.size() > 1) {
    Token& t = tokens_[at_];
    const std::string_view digit = t.text.substr(0, 1);
    if (digit == "." || t.text.find(',') != std::string_view::npos) return fail("syntax");  // \frac.5, \sqrt1,000
    t.text.remove_prefix(1);
    return number(digit);
  }
  if (peek().type == Token::kNumber) return number(tokens_[at_++].text);
  if (!deeper()) return 0;
  const std::uint32_t a = atom();
  --depth_;
  return a;
}

std::uint32_t Parser::command(std::string_view name) {
  if (name == "frac") {
    const std::uint32_t top = argument(), bottom = argument();
    return group(node(NodeKind::kProduct, {top, node(NodeKind::kReciprocal, {bottom})}));
  }
  if (name == "sqrt") {
    if (!take("[")) return call(Function::kSqrt, {argument()});
    const std::uint32_t degree = sum();
    if (!expect("]")) return 0;
    return call(Function::kRoot, {argument(), degree});
  }
  if (name == "pi") return node(NodeKind::kConstant, {}, static_cast<int>(Constant::kPi));
  if (name == "infty") return node(NodeKind::kConstant, {}, static_cast<int>(Constant::kInfinity));
  if (is_accent(name)) return accented(name);
  if (is_symbol_command(name)) return symbol(std::string(name.starts_with("var") ? name.substr(3) : name));
  if (const auto f = function_named(name)) return function(*f, name);
  if (name == "cbrt") {
    const std::uint32_t degree = number("3");
    return call(Function::kRoot, {argument(), degree});
  }
  if (name == "binom" || name == "dbinom" || name == "tbinom") {
    const std::uint32_t top = argument(), bottom = argument();
    return call(Function::kBinomial, {top, bottom});
  }
  if (name == "lfloor" || name == "lceil" || name == "lvert" || name == "vert") {
    if (!deeper()) return 0;
    const std::uint32_t inside = sum();
    --depth_;
    if (name == "lfloor") return expect("rfloor") ? call(Function::kFloor, {inside}) : 0;
    if (name == "lceil") return expect("rceil") ? call(Function::kCeil, {inside}) : 0;
    return take("rvert") || expect("vert") ? call(Function::kAbs, {inside}) : 0;
  }
  if (name == "langle") {
    Kids kids = {relation()};
    while (take(",")) kids.push_back(relation());
    return expect("rangle") ? named(NodeKind::kBracketed, "<>", kids) : 0;
  }
  if (name == "emptyset" || name == "varnothing") return node(NodeKind::kSet, {});
  if (name == "begin") return peek().is("cases") ? cases() : matrix();
  if (name == "ldots" || name == "cdots" || name == "dots") return named(NodeKind::kSymbol, "...", {});
  return fail("word");
}

// \sin x, \sin(x), \sin^2 x, \log_2 8, \ln 2x
std::uint32_t Parser::function(Function f, std::string_view name) {
  if (!deeper()) return 0;
  std::uint32_t base = 0, raised = 0;
  bool has_base = false, has_power = false, inverse = false;
  if (name == "lg") {
    base = number("10");
    has_base = true;
  }
  for (;;) {
    if (!has_base && f == Function::kLog && take("_")) {
      // People write \log_10 100; TeX would take the 1.
      base = peek().type == Token::kNumber && peek(1).space ? number(tokens_[at_++].text) : argument();
      has_base = true;
    } else if (!has_power && take("^")) {
      has_power = true;
      raised = exponent();
    } else {
      break;
    }
  }
  if (has_power && out_.ok() && out_.tree.nodes[raised].kind == NodeKind::kNegation) {
    const auto inverted = inverse_function(f);  // \sin^{-1} x
    if (!inverted) return fail("syntax");
    f = *inverted;
    inverse = true;
  }
  Kids kids;
  if (take("(")) {
    const int bars = std::exchange(bars_, 0);
    kids.push_back(relation());
    while (take(",")) kids.push_back(relation());
    bars_ = bars;
    if (!expect(")")) return 0;
  } else if (peek().is("{")) {
    kids.push_back(atom());
  } else {
    bool negative = false;
    while (take("-")) negative = !negative;
    Kids factors = {power()};
    while (starts_atom() && !function_named(peek().text) && !peek().is("(") && peek().type != Token::kNumber)
      factors.push_back(power());
    kids.push_back(factors.size() == 1 ? factors[0] : node(NodeKind::kProduct, factors));
    if (negative) kids[0] = node(NodeKind::kNegation, {kids[0]});
  }
  --depth_;
  if (has_base) kids.push_back(base);
  if (!takes_arguments(f, kids.size())) return fail("syntax");
  const std::uint32_t value = call(f, kids);
  return has_power && !inverse ? node(NodeKind::kPower, {value, raised}) : value;
}

std::uint32_t Parser::matrix() {
  const std::string_view environment = peek().text;
  ++at_;
  // A determinant (vmatrix) is no matrix.
  static constexpr std::string_view kKnown[] = {"pmatrix", "bmatrix", "matrix", "array", "Bmatrix", "smallmatrix"};
  if (std::find(std::begin(kKnown), std::end(kKnown), environment) == std::end(kKnown)) return fail("word");
  if (environment == "array" && take("{")) {
    while (peek().type != Token::kEnd && !take("}")) ++at_;
  }
  Kids kids;
  std::size_t columns = 0, in_row = 0;
  for (;;) {
    kids.push_back(relation());
    ++in_row;
    if (take("&")) continue;
    const bool more = take("\\\\") && !peek().is("end");
    if (columns != 0 && in_row != columns) return fail("syntax");
    columns = in_row;
    in_row = 0;
    if (!more) break;
  }
  if (!expect("end")) return 0;
  ++at_;  // the environment's name
  return node(NodeKind::kMatrix, kids, 0, static_cast<std::uint32_t>(columns));
}

// A system of equations, one a row: a list. Rows with a condition behind & are piecewise functions: not read.
std::uint32_t Parser::cases() {
  ++at_;
  Kids kids;
  do {
    if (peek().is("end")) break;
    kids.push_back(relation());
    take(",");
  } while (take("\\\\"));
  if (!expect("end")) return 0;
  ++at_;
  return kids.size() == 1 ? kids[0] : node(NodeKind::kList, kids);
}

}  // namespace r1::math
