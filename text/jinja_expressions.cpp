#include "text/jinja_expressions.h"

#include <charconv>

#include "core/error.h"
#include "text/jinja_functions.h"

namespace r1::jinja {

using TokenKind = Token::Kind;

struct ExpressionParser::Depth {
  explicit Depth(ExpressionParser& p) : parser(p) {
    if (++parser.depth_ > 200) parser.fail(parser.peek().offset, "the expression is nested too deeply");
  }
  ~Depth() { --parser.depth_; }
  ExpressionParser& parser;
};

void ExpressionParser::fail(std::size_t offset, const std::string& why) const {
  throw DataError(message("chat template, ", position(source_, offset), ": ", why));
}

std::string ExpressionParser::shown(const Token& t) const {
  switch (t.kind) {
    case TokenKind::kText: return "text";
    case TokenKind::kVariableBegin: return "{{";
    case TokenKind::kVariableEnd: return "}}";
    case TokenKind::kBlockBegin: return "{%";
    case TokenKind::kBlockEnd: return "%}";
    case TokenKind::kEnd: return "the end of the template";
    default: return "\"" + t.text + "\"";
  }
}

bool ExpressionParser::take_operator(std::string_view op) { return is_operator(op) && (++next_, true); }
bool ExpressionParser::take_name(std::string_view name) { return is_name(name) && (++next_, true); }
void ExpressionParser::expect_operator(std::string_view op) {
  if (!take_operator(op)) fail(peek().offset, message("expected \"", op, "\", found ", shown(peek())));
}
std::string ExpressionParser::expect_name(const char* what) {
  if (peek().kind != TokenKind::kName) fail(peek().offset, message("expected ", what, ", found ", shown(peek())));
  return take().text;
}

ExpressionPtr ExpressionParser::make(Kind kind, std::size_t offset) const {
  auto e = std::make_unique<Expression>();
  e->kind = kind;
  e->offset = offset;
  return e;
}

ExpressionPtr ExpressionParser::join(Kind kind, std::size_t offset, ExpressionPtr a, ExpressionPtr b,
                                     std::string text) const {
  auto e = make(kind, offset);
  e->text = std::move(text);
  e->parts.push_back(std::move(a));
  e->parts.push_back(std::move(b));
  return e;
}

ExpressionPtr ExpressionParser::expression(bool with_condition) {
  const Depth depth(*this);
  ExpressionPtr e = logical_or();
  while (with_condition && is_name("if")) {
    const std::size_t offset = take().offset;
    e = join(Kind::kConditional, offset, std::move(e), logical_or());
    e->parts.push_back(take_name("else") ? expression() : nullptr);
  }
  return e;
}

ExpressionPtr ExpressionParser::tuple_or_expression(bool with_condition) {
  const std::size_t offset = peek().offset;
  ExpressionPtr e = expression(with_condition);
  if (!is_operator(",")) return e;
  auto tuple = make(Kind::kTuple, offset);
  tuple->parts.push_back(std::move(e));
  while (take_operator(",")) {
    const Token& t = peek();
    const bool ends =
        t.kind == TokenKind::kBlockEnd || t.kind == TokenKind::kVariableEnd || is_operator(")") || is_name("in");
    if (ends) break;
    tuple->parts.push_back(expression(with_condition));
  }
  return tuple;
}

ExpressionPtr ExpressionParser::logical_or() {
  ExpressionPtr e = logical_and();
  while (is_name("or")) {
    const std::size_t offset = take().offset;
    e = join(Kind::kOr, offset, std::move(e), logical_and());
  }
  return e;
}

ExpressionPtr ExpressionParser::logical_and() {
  ExpressionPtr e = logical_not();
  while (is_name("and")) {
    const std::size_t offset = take().offset;
    e = join(Kind::kAnd, offset, std::move(e), logical_not());
  }
  return e;
}

ExpressionPtr ExpressionParser::logical_not() {
  if (!is_name("not")) return comparison();
  const Depth depth(*this);
  auto e = make(Kind::kNot, take().offset);
  e->parts.push_back(logical_not());
  return e;
}

ExpressionPtr ExpressionParser::comparison() {
  ExpressionPtr first = sum();
  ExpressionPtr e;
  while (true) {
    std::string op;
    const std::size_t offset = peek().offset;
    for (const char* candidate : {"==", "!=", "<=", ">=", "<", ">"}) {
      if (take_operator(candidate)) {
        op = candidate;
        break;
      }
    }
    if (op.empty() && take_name("in")) op = "in";
    if (op.empty() && is_name("not") && peek(1).kind == TokenKind::kName && peek(1).text == "in")
      next_ += 2, op = "not in";
    if (op.empty()) return e ? std::move(e) : std::move(first);
    if (!e) {
      e = make(Kind::kCompare, offset);
      e->parts.push_back(std::move(first));
    }
    e->operators.push_back(op);
    e->parts.push_back(sum());
  }
}

ExpressionPtr ExpressionParser::sum() {
  ExpressionPtr e = concatenation();
  while (is_operator("+") || is_operator("-")) {
    const Token op = take();
    e = join(Kind::kBinary, op.offset, std::move(e), concatenation(), op.text);
  }
  return e;
}

ExpressionPtr ExpressionParser::concatenation() {
  ExpressionPtr first = product();
  if (!is_operator("~")) return first;
  auto e = make(Kind::kConcat, peek().offset);
  e->parts.push_back(std::move(first));
  while (take_operator("~")) e->parts.push_back(product());
  return e;
}

ExpressionPtr ExpressionParser::product() {
  ExpressionPtr e = power();
  while (is_operator("*") || is_operator("/") || is_operator("//") || is_operator("%")) {
    const Token op = take();
    e = join(Kind::kBinary, op.offset, std::move(e), power(), op.text);
  }
  return e;
}

ExpressionPtr ExpressionParser::power() {
  ExpressionPtr e = unary();
  while (is_operator("**")) {
    const Token op = take();
    e = join(Kind::kBinary, op.offset, std::move(e), unary(), op.text);
  }
  return e;
}

ExpressionPtr ExpressionParser::unary(bool with_filters) {
  const Depth depth(*this);
  ExpressionPtr e;
  if (is_operator("-") || is_operator("+")) {
    const Token op = take();
    e = make(op.text == "-" ? Kind::kNegative : Kind::kPositive, op.offset);
    e->parts.push_back(unary(false));
  } else {
    e = primary();
  }
  e = postfix(std::move(e));
  return with_filters ? filters(std::move(e)) : std::move(e);
}

ExpressionPtr ExpressionParser::primary() {
  const Token t = take();
  switch (t.kind) {
    case TokenKind::kName: {
      if (t.text == "true" || t.text == "True" || t.text == "false" || t.text == "False" || t.text == "none" ||
          t.text == "None") {
        auto e = make(Kind::kLiteral, t.offset);
        if ((t.text[0] | 32) != 'n') e->value = (t.text[0] | 32) == 't';
        return e;
      }
      auto e = make(Kind::kName, t.offset);
      e->text = t.text;
      return e;
    }
    case TokenKind::kString: {
      auto e = make(Kind::kLiteral, t.offset);
      std::string text = t.text;
      while (peek().kind == TokenKind::kString) text += take().text;  // neighbours are one string, as in Python
      e->value = std::move(text);
      return e;
    }
    case TokenKind::kInteger: {
      auto e = make(Kind::kLiteral, t.offset);
      std::int64_t value = 0;
      const auto end = t.text.data() + t.text.size();
      if (const auto r = std::from_chars(t.text.data(), end, value); r.ec != std::errc() || r.ptr != end)
        fail(t.offset, "an integer does not fit 64 bits");
      e->value = value;
      return e;
    }
    case TokenKind::kFloat: {
      auto e = make(Kind::kLiteral, t.offset);
      double value = 0;
      std::from_chars(t.text.data(), t.text.data() + t.text.size(), value);
      e->value = value;
      return e;
    }
    case TokenKind::kOperator: {
      if (t.text == "(") {
        if (take_operator(")")) return make(Kind::kTuple, t.offset);
        ExpressionPtr e = tuple_or_expression();
        expect_operator(")");
        return e;
      }
      if (t.text == "[") {
        auto e = make(Kind::kList, t.offset);
        while (!is_operator("]")) {
          e->parts.push_back(expression());
          if (!take_operator(",")) break;
        }
        expect_operator("]");
        return e;
      }
      if (t.text == "{") return dict(t.offset);
      break;
    }
    default: break;
  }
  fail(t.offset, message("unexpected ", shown(t)));
}

ExpressionPtr ExpressionParser::dict(std::size_t offset) {
  auto e = make(Kind::kDict, offset);
  while (!is_operator("}")) {
    e->parts.push_back(expression());
    expect_operator(":");
    e->parts.push_back(expression());
    if (!take_operator(",")) break;
  }
  expect_operator("}");
  return e;
}

ExpressionPtr ExpressionParser::postfix(ExpressionPtr e) {
  while (true) {
    const std::size_t offset = peek().offset;
    if (take_operator(".")) {
      if (peek().kind == TokenKind::kInteger) {  // a.0 is a[0]
        auto key = primary();
        e = join(Kind::kSubscript, offset, std::move(e), std::move(key));
        continue;
      }
      auto attribute = make(Kind::kAttribute, offset);
      attribute->text = expect_name("the name of an attribute");
      attribute->parts.push_back(std::move(e));
      e = std::move(attribute);
    } else if (take_operator("[")) {
      e = subscript(std::move(e), offset);
    } else if (is_operator("(")) {
      auto call = make(Kind::kCall, offset);
      call->arguments = call_arguments();
      call->parts.push_back(std::move(e));
      e = std::move(call);
    } else {
      return e;
    }
  }
}

ExpressionPtr ExpressionParser::subscript(ExpressionPtr e, std::size_t offset) {
  ExpressionPtr parts[3];
  int count = 0;
  bool slice = false;
  while (!is_operator("]")) {
    if (take_operator(":")) {
      slice = true;
      if (++count > 2) fail(peek().offset, "a slice has at most three parts");
      continue;
    }
    if (parts[count]) fail(peek().offset, message("expected \"]\", found ", shown(peek())));
    parts[count] = expression();
  }
  expect_operator("]");
  if (!slice) {
    if (!parts[0]) fail(offset, "an empty subscript");
    return join(Kind::kSubscript, offset, std::move(e), std::move(parts[0]));
  }
  auto out = make(Kind::kSlice, offset);
  out->parts.push_back(std::move(e));
  for (auto& p : parts) out->parts.push_back(std::move(p));
  return out;
}

CallArguments ExpressionParser::call_arguments() {
  CallArguments out;
  expect_operator("(");
  while (!is_operator(")")) {
    if (is_operator("*") || is_operator("**")) fail(peek().offset, "* and ** arguments are not implemented");
    if (peek().kind == TokenKind::kName && peek(1).kind == TokenKind::kOperator && peek(1).text == "=") {
      std::string name = take().text;
      take();
      out.named.emplace_back(std::move(name), expression());
    } else {
      if (!out.named.empty()) fail(peek().offset, "a positional argument behind a named one");
      out.positional.push_back(expression());
    }
    if (!take_operator(",")) break;
  }
  expect_operator(")");
  return out;
}

ExpressionPtr ExpressionParser::filters(ExpressionPtr e) {
  while (true) {
    if (take_operator("|")) {
      e = one_filter(std::move(e));
    } else if (is_name("is")) {
      e = test(std::move(e));
    } else if (is_operator("(")) {  // calls may follow a filter
      e = postfix(std::move(e));
    } else {
      return e;
    }
  }
}

ExpressionPtr ExpressionParser::filters_only() {
  ExpressionPtr e = one_filter(nullptr);
  while (take_operator("|")) e = one_filter(std::move(e));
  return e;
}

ExpressionPtr ExpressionParser::one_filter(ExpressionPtr input) {
  auto e = make(Kind::kFilter, peek().offset);
  e->text = expect_name("the name of a filter");
  if (!is_filter(e->text)) fail(e->offset, message("the filter \"", e->text, "\" is not implemented"));
  if (is_operator("(")) e->arguments = call_arguments();
  e->parts.push_back(std::move(input));
  return e;
}

ExpressionPtr ExpressionParser::test(ExpressionPtr input) {
  const std::size_t offset = take().offset;
  const bool negated = take_name("not");
  auto e = make(Kind::kTest, offset);
  e->text = peek().kind == TokenKind::kOperator ? take().text : expect_name("the name of a test");
  if (!is_test(e->text)) fail(offset, message("the test \"", e->text, "\" is not implemented"));
  const Token& t = peek();
  const bool argument = t.kind == TokenKind::kString || t.kind == TokenKind::kInteger || t.kind == TokenKind::kFloat ||
                        is_operator("[") || is_operator("{") ||
                        (t.kind == TokenKind::kName && t.text != "else" && t.text != "or" && t.text != "and" &&
                         t.text != "if" && t.text != "is" && t.text != "in" && t.text != "not");
  if (is_operator("(")) {
    e->arguments = call_arguments();
  } else if (argument) {
    e->arguments.positional.push_back(postfix(primary()));
  }
  e->parts.push_back(std::move(input));
  if (!negated) return e;
  auto inverse = make(Kind::kNot, offset);
  inverse->parts.push_back(std::move(e));
  return inverse;
}

}  // namespace r1::jinja
