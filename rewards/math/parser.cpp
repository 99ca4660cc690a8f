#include "rewards/math/parser.h"

#include <algorithm>
#include <utility>

#include "rewards/math/parse_tables.h"
#include "rewards/math/token.h"

namespace r1::math {
namespace {

using Kids = std::vector<std::uint32_t>;

class Parser {
 public:
  explicit Parser(std::string_view text) {
    Tokens tokens = tokenize(text);
    tokens_ = std::move(tokens.list);
    out_.why = tokens.why;
  }

  Parsed run() {
    if (out_.ok()) {
      out_.tree.root = items(NodeKind::kList);
      if (out_.ok() && peek().type != Token::kEnd) fail("syntax");
    }
    return std::move(out_);
  }

 private:
  // --- tokens and nodes
  const Token& peek(std::size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  bool take(std::string_view s) {
    if (!peek().is(s)) return false;
    ++at_;
    return true;
  }
  bool expect(std::string_view s) { return take(s) || (fail("syntax"), false); }
  std::uint32_t fail(std::string_view why) {
    if (out_.ok()) out_.why = why;
    at_ = tokens_.size() - 1;  // every loop stops at the end token
    return 0;
  }
  std::uint32_t node(NodeKind kind, const Kids& kids, int op = 0, std::uint32_t data = 0) {
    Tree& t = out_.tree;
    if (t.nodes.size() >= kMaxNodes || t.kids.size() > 2 * kMaxNodes) return fail("too_many");
    t.nodes.push_back({kind, static_cast<std::uint8_t>(op), false, data, static_cast<std::uint32_t>(t.kids.size()),
                       static_cast<std::uint32_t>(kids.size())});
    t.kids.insert(t.kids.end(), kids.begin(), kids.end());
    return static_cast<std::uint32_t>(t.nodes.size() - 1);
  }
  std::uint32_t named(NodeKind kind, std::string name, const Kids& kids) {
    out_.tree.names.push_back(std::move(name));
    return node(kind, kids, 0, static_cast<std::uint32_t>(out_.tree.names.size() - 1));
  }
  std::uint32_t call(Function f, const Kids& kids) { return node(NodeKind::kCall, kids, static_cast<int>(f)); }

  std::uint32_t number(std::string_view text) {
    std::string digits;
    int places = 0;
    bool point = false;
    for (const char c : text) {
      if (c == '.') point = true;
      else if (c != ',') digits += c, places += point;
    }
    if (digits.size() > 1000) return fail("too_long");
    Literal l;
    l.value = mpz_class(digits, 10);
    mpz_class scale;
    mpz_ui_pow_ui(scale.get_mpz_t(), 10, static_cast<unsigned long>(places));
    l.value /= scale;
    l.places = places;
    l.significant = static_cast<int>(digits.size() - std::min(digits.find_first_not_of('0'), digits.size()));
    out_.tree.numbers.push_back(std::move(l));
    return node(NodeKind::kNumber, {}, 0, static_cast<std::uint32_t>(out_.tree.numbers.size() - 1));
  }

  // --- lists and relations
  std::uint32_t items(NodeKind several) {
    Kids kids = {relation()};
    while (take(",") || take(";") || take("and")) {
      while (take("and")) {}  // ", and"
      kids.push_back(relation());
    }
    return kids.size() == 1 ? kids[0] : node(several, kids);
  }

  std::uint32_t relation() {
    struct Deeper {
      Parser& p;
      explicit Deeper(Parser& parser) : p(parser) {
        if (++p.depth_ > kMaxDepth) p.fail("too_deep");
      }
      ~Deeper() { --p.depth_; }
    } deeper(*this);
    if (!out_.ok()) return 0;
    Kids kids = {ratio()};
    std::string letters;
    for (char c; (c = relation_letter(peek())) != 0;) {
      ++at_;
      letters += c;
      kids.push_back(ratio());
    }
    return kids.size() == 1 ? kids[0] : named(NodeKind::kRelation, std::move(letters), kids);
  }

  std::uint32_t ratio() {
    Kids kids = {united()};
    while (take(":")) kids.push_back(united());
    return kids.size() == 1 ? kids[0] : node(NodeKind::kRatio, kids);
  }
  std::uint32_t united() {
    Kids kids = {sum()};
    while (take("cup")) kids.push_back(sum());
    return kids.size() == 1 ? kids[0] : node(NodeKind::kUnion, kids);
  }

  // --- arithmetic
  std::uint32_t sum() {
    Kids kids;
    if (peek().is("pm") || peek().is("mp")) {
      kids.push_back(number("0"));
    } else {
      kids.push_back(product());
    }
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

  std::uint32_t product() {
    Kids kids = {signed_factor()};
    for (;;) {
      if (take("*")) {
        kids.push_back(signed_factor());
      } else if (take("/")) {
        kids.push_back(node(NodeKind::kReciprocal, {signed_factor()}));
      } else if (starts_atom()) {
        if (peek().type == Token::kNumber && tokens_[at_ - 1].type == Token::kNumber) return fail("syntax");  // "2 3"
        kids.push_back(power());
      } else {
        break;
      }
    }
    return kids.size() == 1 ? kids[0] : node(NodeKind::kProduct, kids);
  }

  std::uint32_t signed_factor() {
    bool negative = false;
    for (;;) {
      if (take("-")) negative = !negative;
      else if (!take("+")) break;
    }
    const std::uint32_t value = power();
    return negative ? node(NodeKind::kNegation, {value}) : value;
  }

  bool starts_atom() const {
    const Token& t = peek();
    switch (t.type) {
      case Token::kNumber:
      case Token::kLetter: return true;
      case Token::kCommand: return is_atom_command(t.text);
      case Token::kSign: return t.text == "(" || t.text == "{" || (t.text == "|" && bars_ == 0);
      default: return false;
    }
  }

  // An atom with what stands behind it: ! % degrees ^.
  std::uint32_t power() {
    std::uint32_t base = atom();
    while (out_.ok()) {
      if (take("!")) {
        base = call(Function::kFactorial, {base});
      } else if (take("%")) {
        base = node(NodeKind::kPercent, {base});
      } else if (peek().is("^") && peek(1).is("circ")) {
        at_ += 2;
        base = call(Function::kDegrees, {base});
      } else if (take("^")) {
        base = node(NodeKind::kPower, {base, exponent()});
      } else {
        break;
      }
    }
    return base;
  }

  std::uint32_t exponent() {
    if (++depth_ > kMaxDepth) return fail("too_deep");
    bool negative = false;
    while (peek().is("-") || peek().is("+")) negative ^= tokens_[at_++].text == "-";
    std::uint32_t e = atom();
    if (take("^")) e = node(NodeKind::kPower, {e, exponent()});  // towers lean right
    --depth_;
    return negative ? node(NodeKind::kNegation, {e}) : e;
  }

  // --- atoms
  std::uint32_t atom() {
    if (!out_.ok()) return 0;
    const Token t = peek();
    ++at_;
    switch (t.type) {
      case Token::kNumber: return number_atom(t.text);
      case Token::kLetter:
        if (t.text == "e" && !peek().is("_")) return node(NodeKind::kConstant, {}, static_cast<int>(Constant::kE));
        if (t.text == "i" && !peek().is("_")) return node(NodeKind::kConstant, {}, static_cast<int>(Constant::kI));
        return symbol(t.text);
      case Token::kCommand: return command(t.text);
      case Token::kSign:
        if (t.text == "(" || t.text == "[" || t.text == "{" || t.text == "\\{") return bracket(t.text);
        if (t.text == "|" || t.text == "\\|") return bars();
        return fail("syntax");
      default: return fail("syntax");
    }
  }

  std::uint32_t symbol(std::string_view name) {
    std::string full(name);
    if (take("_")) {  // x_1, x_{10}: one name, spelt without spaces
      full += '_';
      int depth = 0;
      do {
        const Token& t = peek();
        if (t.type == Token::kEnd) return fail("syntax");
        if (t.is("{")) ++depth;
        else if (t.is("}")) --depth;
        else full += t.text;
        ++at_;
      } while (depth > 0);
    }
    while (take("'")) full += '\'';
    return named(NodeKind::kSymbol, std::move(full), {});
  }

  std::uint32_t number_atom(std::string_view text) {
    const bool whole = text.find('.') == std::string_view::npos;
    if (peek().is("_")) {  // 101_2, 2516_{8}
      ++at_;
      const bool brace = take("{");
      if (peek().type != Token::kNumber) return fail("syntax");
      std::string name = std::string(text) + "_" + std::string(peek().text);
      ++at_;
      if (brace && !expect("}")) return 0;
      return named(NodeKind::kBased, std::move(name), {});
    }
    const std::uint32_t value = number(text);
    if (!whole) return value;
    const auto is_whole = [&](std::size_t k) {
      return peek(k).type == Token::kNumber && peek(k).text.find('.') == std::string_view::npos;
    };
    std::size_t top = 0, bottom = 0, end = 0;  // token offsets of a fraction behind a whole number
    if (peek().is("frac") && peek(1).is("{") && is_whole(2) && peek(3).is("}") && peek(4).is("{") && is_whole(5) &&
        peek(6).is("}")) {
      top = 2, bottom = 5, end = 7;
    } else if (is_whole(0) && peek().space && peek(1).is("/") && is_whole(2)) {
      top = 0, bottom = 2, end = 3;
    }
    if (end == 0 || peek(top).text.size() > 6 || peek(bottom).text.size() > 6) return value;
    const std::uint32_t a = number(peek(top).text), b = number(peek(bottom).text);
    if (!out_.ok()) return 0;
    at_ += end;
    const Tree& t = out_.tree;
    if (t.numbers[t.nodes[a].data].value >= t.numbers[t.nodes[b].data].value) return fail("syntax");
    const std::uint32_t fraction = node(NodeKind::kProduct, {a, node(NodeKind::kReciprocal, {b})});
    return group(node(NodeKind::kSum, {value, fraction}));
  }

  std::uint32_t group(std::uint32_t n) {
    if (out_.ok()) out_.tree.nodes[n].grouped = true;
    return n;
  }

  std::uint32_t bracket(std::string_view open) {
    const int bars = std::exchange(bars_, 0);
    const bool set = open == "\\{";
    if (set && take("\\}")) {
      bars_ = bars;
      return node(NodeKind::kSet, {});
    }
    Kids kids = {relation()};
    while (take(",") || take(";") || (set && take("and"))) kids.push_back(relation());
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

  std::uint32_t bars() {
    ++bars_;
    const std::uint32_t inside = sum();
    --bars_;
    if (!take("|") && !take("\\|")) return fail("syntax");
    return call(Function::kAbs, {inside});
  }

  // TeX's argument: a group, or one digit, letter or command. People's sqrt(2) too.
  std::uint32_t argument() {
    if (peek().type == Token::kNumber && peek().text.size() > 1) {
      Token& t = tokens_[at_];
      const std::string_view digit = t.text.substr(0, 1);
      t.text.remove_prefix(1);
      return number(digit);
    }
    if (++depth_ > kMaxDepth) return fail("too_deep");
    const std::uint32_t a = atom();
    --depth_;
    return a;
  }

  std::uint32_t command(std::string_view name) {
    if (name == "frac") {
      const std::uint32_t top = argument(), bottom = argument();
      return group(node(NodeKind::kProduct, {top, node(NodeKind::kReciprocal, {bottom})}));
    }
    if (name == "sqrt" || name == "cbrt") {
      std::uint32_t degree = 0;
      const bool root = name == "cbrt" || peek().is("[");
      if (name == "cbrt") {
        degree = number("3");
      } else if (take("[")) {
        degree = sum();
        if (!expect("]")) return 0;
      }
      const std::uint32_t inside = argument();
      return root ? call(Function::kRoot, {inside, degree}) : call(Function::kSqrt, {inside});
    }
    if (name == "binom" || name == "dbinom" || name == "tbinom") {
      const std::uint32_t top = argument(), bottom = argument();
      return call(Function::kBinomial, {top, bottom});
    }
    if (name == "pi") return node(NodeKind::kConstant, {}, static_cast<int>(Constant::kPi));
    if (name == "infty") return node(NodeKind::kConstant, {}, static_cast<int>(Constant::kInfinity));
    if (name == "lfloor" || name == "lceil") {
      const std::uint32_t inside = sum();
      if (!expect(name == "lfloor" ? "rfloor" : "rceil")) return 0;
      return call(name == "lfloor" ? Function::kFloor : Function::kCeil, {inside});
    }
    if (name == "lvert" || name == "vert") {
      const std::uint32_t inside = sum();
      if (!take("rvert") && !expect("vert")) return 0;
      return call(Function::kAbs, {inside});
    }
    if (name == "langle") {
      Kids kids = {relation()};
      while (take(",")) kids.push_back(relation());
      return expect("rangle") ? named(NodeKind::kBracketed, "<>", kids) : 0;
    }
    if (name == "emptyset" || name == "varnothing") return node(NodeKind::kSet, {});
    if (name == "begin") return matrix();
    if (name == "ldots" || name == "cdots" || name == "dots") return named(NodeKind::kSymbol, "...", {});
    if (const auto f = function_named(name)) return function(*f);
    if (is_symbol_command(name)) return symbol(name.starts_with("var") ? name.substr(3) : name);
    return fail("word");
  }

  // \sin x, \sin(x), \sin^2 x, \log_2 8, \ln 2x
  std::uint32_t function(Function f) {
    if (++depth_ > kMaxDepth) return fail("too_deep");
    std::uint32_t base = 0, raised = 0;
    bool has_base = false, has_power = false, inverse = false;
    for (;;) {
      if (!has_base && f == Function::kLog && take("_")) {
        base = argument();
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
    if (peek().is("(")) {
      ++at_;
      kids.push_back(relation());
      while (take(",")) kids.push_back(relation());
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

  std::uint32_t matrix() {
    const std::string_view environment = peek().text;
    ++at_;
    if (environment != "pmatrix" && environment != "bmatrix" && environment != "matrix" && environment != "array")
      return fail("word");
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

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int depth_ = 0;
  int bars_ = 0;  // open | | around the position: there | closes
  Parsed out_;
};

}  // namespace

Parsed parse(std::string_view text) { return Parser(text).run(); }

}  // namespace r1::math
