#include "rewards/math/parser.h"

#include <algorithm>
#include <utility>

#include "rewards/math/parse_tables.h"
#include "rewards/math/parser_impl.h"
#include "rewards/number.h"
#include "rewards/number_tail.h"
#include "rewards/units.h"

namespace r1::math {

Parser::Parser(const CleanAnswer& answer) : text_(answer.text) {
  Tokens tokens = tokenize(answer);
  tokens_ = std::move(tokens.list);
  out_.why = tokens.why;
  const std::size_t size = std::min(tokens_.size() + 4, kMaxNodes);
  out_.tree.nodes.reserve(size);
  out_.tree.kids.reserve(size);
}

Parsed Parser::run() {
  if (out_.ok()) {
    out_.tree.root = items();
    if (out_.ok() && peek().type != Token::kEnd) fail(peek().type == Token::kWord ? "word" : "syntax");
  }
  return std::move(out_);
}

std::uint32_t Parser::fail(std::string_view why) {
  if (out_.ok()) out_.why = why;
  at_ = tokens_.size() - 1;
  return 0;
}

bool Parser::deeper() {
  if (++depth_ <= kMaxDepth) return true;
  fail("too_deep");
  return false;
}

std::uint32_t Parser::node(NodeKind kind, std::span<const std::uint32_t> kids, int op, std::uint32_t data) {
  Tree& t = out_.tree;
  if (t.nodes.size() >= kMaxNodes || t.kids.size() > 2 * kMaxNodes) return fail("too_many");
  t.nodes.push_back({kind, static_cast<std::uint8_t>(op), false, data, static_cast<std::uint32_t>(t.kids.size()),
                     static_cast<std::uint32_t>(kids.size())});
  t.kids.insert(t.kids.end(), kids.begin(), kids.end());
  return static_cast<std::uint32_t>(t.nodes.size() - 1);
}

std::uint32_t Parser::named(NodeKind kind, std::string name, std::span<const std::uint32_t> kids) {
  out_.tree.names.push_back(std::move(name));
  return node(kind, kids, 0, static_cast<std::uint32_t>(out_.tree.names.size() - 1));
}

std::uint32_t Parser::number(std::string_view text) {
  Literal literal;
  if (!read_literal(text, literal)) return fail("too_long");
  out_.tree.numbers.push_back(std::move(literal));
  return node(NodeKind::kNumber, {}, 0, static_cast<std::uint32_t>(out_.tree.numbers.size() - 1));
}

std::uint32_t Parser::group(std::uint32_t n) {
  if (out_.ok()) out_.tree.nodes[n].grouped = true;
  return n;
}

bool Parser::has_symbol(std::uint32_t n) const {
  const Tree& t = out_.tree;
  if (t.nodes[n].kind == NodeKind::kSymbol) return true;
  const auto kids = t.children(n);
  return std::any_of(kids.begin(), kids.end(), [&](std::uint32_t k) { return has_symbol(k); });
}

// --- lists and relations

std::uint32_t Parser::items() {
  Kids kids = {relation()};
  bool alternatives = true;
  for (;;) {
    bool mark = take(",") || take(";"), either = false;  // ", or" is one
    while (peek().is("and") || peek().is("or")) {
      mark = true;
      either = either || peek().is("or");
      ++at_;
    }
    if (!mark) break;
    alternatives = alternatives && either;
    kids.push_back(relation());
  }
  return kids.size() == 1 ? kids[0] : node(NodeKind::kList, kids, alternatives);
}

std::uint32_t Parser::relation() {
  if (!deeper()) return 0;
  const std::uint32_t first = operand();
  std::uint32_t value = first;
  if (relation_letter(peek()) != 0) {
    Kids kids = {first};
    std::string letters;
    for (char c; (c = relation_letter(peek())) != 0;) {
      ++at_;
      letters += c;
      kids.push_back(operand());
    }
    value = named(NodeKind::kRelation, std::move(letters), kids);
  }
  --depth_;
  return value;
}

// "Area" in "Area = 5" is a name; words elsewhere are not.
std::uint32_t Parser::operand() {
  if (peek().type != Token::kWord) return ratio();
  std::size_t end = 0;
  std::string name;
  for (; peek(end).type == Token::kWord || peek(end).type == Token::kLetter; ++end) {
    if (peek(end).space && !name.empty()) name += ' ';
    name += peek(end).text;
  }
  if (!peek(end).is("=")) return fail("word");
  at_ += end;
  return named(NodeKind::kSymbol, std::move(name), {});
}

std::uint32_t Parser::ratio() {
  const std::uint32_t first = united();
  if (!peek().is(":")) return first;
  Kids kids = {first};
  while (take(":")) kids.push_back(united());
  return node(NodeKind::kRatio, kids);
}

std::uint32_t Parser::united() {
  const std::uint32_t first = entry();
  if (!peek().is("cup")) return first;
  Kids kids = {first};
  while (take("cup")) kids.push_back(entry());
  return node(NodeKind::kUnion, kids);
}

// --- a value with its unit

std::uint32_t Parser::entry() {
  const bool dollar = take("$");
  const std::uint32_t value = tail(sum());
  return dollar ? named(NodeKind::kUnit, "usd", std::initializer_list<std::uint32_t>{value}) : value;
}

bool Parser::ends_entry() const {
  const Token& t = peek();
  if (t.type == Token::kEnd || relation_letter(t) != 0) return true;
  for (const std::string_view s : {",", ";", ":", ")", "]", "}", "\\}", "&", "\\\\", "and", "or", "cup", "end"}) {
    if (t.is(s)) return true;
  }
  return false;
}

// At letters that are a unit behind a value: \text{m}, \mathrm{s}; and "cm" if nothing but a power follows it.
bool Parser::starts_unit() const {
  const Token& t = peek();
  if (t.type == Token::kWord) return true;
  if (t.type != Token::kLetter || at_ == 0 || tokens_[at_ - 1].type == Token::kLetter) return false;
  if (t.upright) return t.text != "e" && t.text != "i" && canonical_unit(t.text).has_value();
  if (t.run < 2 || !canonical_unit(text_.substr(t.at, t.run))) return false;
  std::size_t behind = t.run;
  if (peek(behind).is("^")) behind += peek(behind + 1).is("{") ? 4 : 2;
  const Token& end = peek(behind);
  return end.type == Token::kEnd || end.is(",") || end.is(")") || end.is("]") || end.is("\\}") || end.is(";");
}

std::uint32_t Parser::tail(std::uint32_t value) {
  if (!out_.ok() || !starts_unit()) return value;
  const std::uint32_t begin = peek().at;
  for (int depth = 0; peek().type != Token::kEnd; ++at_) {
    if (peek().is("{") || peek().is("(")) ++depth;
    else if (depth > 0 && (peek().is("}") || peek().is(")"))) --depth;
    else if (depth == 0 && ends_entry()) break;
  }
  Number n;
  n.value = 1;
  if (!read_number_tail(" " + std::string(text_.substr(begin, peek().at - begin)), n)) return fail("word");
  // "5 apples" is 5; "n even" is not n.
  if (n.unit.empty() && !n.percent && n.value == 1 && has_symbol(value)) return fail("word");
  if (n.value != 1) {
    Literal magnitude;
    magnitude.value = n.value;
    out_.tree.numbers.push_back(std::move(magnitude));
    const auto factor = node(NodeKind::kNumber, {}, 0, static_cast<std::uint32_t>(out_.tree.numbers.size() - 1));
    value = node(NodeKind::kProduct, {value, factor});
  }
  if (n.percent) value = node(NodeKind::kPercent, {value});
  if (n.unit == "deg") return call(Function::kDegrees, {value});
  return n.unit.empty() ? value : named(NodeKind::kUnit, n.unit, std::initializer_list<std::uint32_t>{value});
}

// --- arithmetic

std::uint32_t Parser::sum() {
  const bool sign_first = peek().is("pm") || peek().is("mp");
  const std::uint32_t first = sign_first ? number("0") : product();
  if (!sign_first && !peek().is("+") && !peek().is("-") && !peek().is("pm") && !peek().is("mp")) return first;
  Kids kids = {first};
  for (;;) {
    if (take("+")) {
      kids.push_back(product());
    } else if (take("-")) {
      kids.push_back(node(NodeKind::kNegation, {product()}));
    } else if (peek().is("pm") || peek().is("mp")) {
      const bool flipped = peek().is("mp");
      ++at_;
      const std::uint32_t left = kids.size() == 1 ? kids[0] : node(NodeKind::kSum, kids);
      const std::uint32_t right = product();
      kids = {node(NodeKind::kPlusMinus, {left, right}, 0, flipped)};
    } else {
      break;
    }
  }
  return kids.size() == 1 ? kids[0] : node(NodeKind::kSum, kids);
}

std::uint32_t Parser::product() {
  std::uint32_t value = signed_factor();
  Kids kids;
  for (;;) {
    std::uint32_t next = 0;
    if (take("*")) {
      next = signed_factor();
    } else if (take("/")) {
      next = node(NodeKind::kReciprocal, {signed_factor()});
    } else if (starts_atom()) {
      if (peek().type == Token::kNumber && tokens_[at_ - 1].type == Token::kNumber) return fail("syntax");  // "2 3"
      next = power();
    } else {
      break;
    }
    if (kids.empty()) kids.push_back(value);
    kids.push_back(next);
  }
  if (!kids.empty()) value = node(NodeKind::kProduct, kids);
  while (take("%")) value = node(NodeKind::kPercent, {value});
  return value;
}

std::uint32_t Parser::signed_factor() {
  bool negative = false;
  for (;;) {
    if (take("-")) negative = !negative;
    else if (!take("+")) break;
  }
  const std::uint32_t value = power();
  return negative && out_.ok() ? negated(value) : value;
}

// -90^\circ is the angle of -90 degrees: the unit stays outside.
std::uint32_t Parser::negated(std::uint32_t n) {
  const Node& value = out_.tree.nodes[n];
  if (value.kind != NodeKind::kCall || value.op != static_cast<int>(Function::kDegrees))
    return node(NodeKind::kNegation, {n});
  return call(Function::kDegrees, {node(NodeKind::kNegation, {out_.tree.children(n)[0]})});
}

bool Parser::starts_atom() const {
  const Token& t = peek();
  switch (t.type) {
    case Token::kNumber: return true;
    case Token::kLetter: return !starts_unit();
    case Token::kCommand: return is_atom_command(t.text);
    case Token::kSign: return t.text == "(" || t.text == "{" || (t.text == "|" && bars_ == 0);
    default: return false;
  }
}

namespace {

Parsed tree_of(Number&& n) {
  Parsed out;
  Tree& t = out.tree;
  out.number = true;
  t.nodes.push_back({NodeKind::kNumber, 0, false, 0, 0, 0});
  const auto wrap = [&](NodeKind kind) {
    t.kids.push_back(t.root);
    t.nodes.push_back({kind, 0, false, 0, static_cast<std::uint32_t>(t.kids.size() - 1), 1});
    t.root = static_cast<std::uint32_t>(t.nodes.size() - 1);
  };
  if (n.percent) wrap(NodeKind::kPercent);
  if (n.unit == "deg") {
    wrap(NodeKind::kCall);
    t.nodes[t.root].op = static_cast<std::uint8_t>(Function::kDegrees);
  } else if (!n.unit.empty()) {
    t.names.push_back(std::move(n.unit));
    wrap(NodeKind::kUnit);
  }
  t.numbers.push_back(std::move(n));
  return out;
}

}  // namespace

Parsed parse(const CleanAnswer& answer) {
  if (auto n = parse_number(answer.text)) return tree_of(std::move(*n));
  return Parser(answer).run();
}

}  // namespace r1::math
