// Statements of the template language.
#include <initializer_list>

#include "core/error.h"
#include "text/jinja_expressions.h"

namespace r1::jinja {
namespace {

using TokenKind = Token::Kind;

class Parser final : public ExpressionParser {
 public:
  explicit Parser(std::string_view source) : ExpressionParser(source, tokenize(source)) {}

  Body run() { return until({}); }

 private:
  using StatementPtr = std::unique_ptr<Statement>;
  using SKind = Statement::Kind;

  StatementPtr make(SKind kind, std::size_t offset) const {
    auto s = std::make_unique<Statement>();
    s->kind = kind;
    s->offset = offset;
    return s;
  }

  // Statements up to a tag with one of these names, which stays unread behind its "{%"; with no names, to the end.
  Body until(std::initializer_list<std::string_view> ends) {
    if (++nesting_ > 200) fail(peek().offset, "blocks are nested too deeply");
    const std::size_t opened = peek().offset;
    Body body;
    while (true) {
      const Token t = take();
      if (t.kind == TokenKind::kText) {
        body.push_back(make(SKind::kText, t.offset));
        body.back()->text = t.text;
      } else if (t.kind == TokenKind::kVariableBegin) {
        body.push_back(make(SKind::kOutput, peek().offset));
        body.back()->expressions.push_back(tuple_or_expression());
        if (take().kind != TokenKind::kVariableEnd) fail_before("}}");
      } else if (t.kind == TokenKind::kBlockBegin) {
        for (const std::string_view end : ends) {
          if (is_name(end)) return --nesting_, std::move(body);
        }
        if (auto s = statement()) body.push_back(std::move(s));
      } else {
        if (ends.size() > 0) fail(opened, message("a block has no {% ", *(ends.end() - 1), " %}"));
        return --nesting_, std::move(body);
      }
    }
  }

  [[noreturn]] void fail_before(const char* expected) {
    --next_;
    fail(peek().offset, message("expected \"", expected, "\", found ", shown(peek())));
  }
  void block_end() {
    if (take().kind != TokenKind::kBlockEnd) fail_before("%}");
  }
  // until() has seen the name already.
  void end_tag() {
    take();
    block_end();
  }

  StatementPtr statement() {
    const std::size_t offset = peek().offset;
    const std::string name = expect_name("the name of a tag");
    if (name == "if") return if_tag(offset);
    if (name == "for") return for_tag(offset);
    if (name == "set") return set_tag(offset);
    if (name == "macro") return macro_tag(offset);
    if (name == "call") return call_tag(offset);
    if (name == "with") return with_tag(offset);
    if (name == "filter") {
      auto s = make(SKind::kFilterBlock, offset);
      s->expressions.push_back(filters_only());
      block_end();
      s->bodies.push_back(until({"endfilter"}));
      return end_tag(), std::move(s);
    }
    if (name == "generation") {  // marks what the model wrote; nothing of it is seen in the text
      auto s = make(SKind::kGroup, offset);
      block_end();
      s->bodies.push_back(until({"endgeneration"}));
      return end_tag(), std::move(s);
    }
    if (name == "break" || name == "continue") {
      if (loops_ == 0) fail(offset, message("\"", name, "\" outside of a loop"));
      block_end();
      return make(name == "break" ? SKind::kBreak : SKind::kContinue, offset);
    }
    fail(offset, message("the tag \"", name, "\" is not implemented or has no place here"));
  }

  StatementPtr if_tag(std::size_t offset) {
    auto s = make(SKind::kIf, offset);
    s->expressions.push_back(tuple_or_expression(false));
    block_end();
    while (true) {
      s->bodies.push_back(until({"elif", "else", "endif"}));
      if (take_name("elif")) {
        s->expressions.push_back(tuple_or_expression(false));
        block_end();
        continue;
      }
      if (take_name("else")) {
        block_end();
        s->bodies.push_back(until({"endif"}));
      }
      end_tag();
      return s;
    }
  }

  std::vector<std::string> target_names() {
    const bool parentheses = take_operator("(");
    std::vector<std::string> names{target_name()};
    while (take_operator(",")) {
      if (peek().kind != TokenKind::kName || is_name("in")) break;
      names.push_back(target_name());
    }
    if (parentheses) expect_operator(")");
    return names;
  }
  std::string target_name() {
    const std::size_t offset = peek().offset;
    const std::string name = expect_name("the name of a variable");
    for (const char* constant : {"true", "false", "none", "True", "False", "None"}) {
      if (name == constant) fail(offset, message("\"", name, "\" cannot be assigned to"));
    }
    return name;
  }

  StatementPtr for_tag(std::size_t offset) {
    auto s = make(SKind::kFor, offset);
    s->names = target_names();
    if (!take_name("in")) fail(peek().offset, message("expected \"in\", found ", shown(peek())));
    s->expressions.push_back(tuple_or_expression(false));
    s->expressions.push_back(take_name("if") ? expression() : nullptr);
    if (is_name("recursive")) fail(peek().offset, "recursive loops are not implemented");
    block_end();
    ++loops_;
    s->bodies.push_back(until({"else", "endfor"}));
    --loops_;
    Body otherwise;
    if (take_name("else")) {
      block_end();
      otherwise = until({"endfor"});
    }
    s->bodies.push_back(std::move(otherwise));
    return end_tag(), std::move(s);
  }

  StatementPtr set_tag(std::size_t offset) {
    if (peek().kind == TokenKind::kName && peek(1).kind == TokenKind::kOperator && peek(1).text == ".") {
      auto s = make(SKind::kSet, offset);
      s->names = {target_name()};
      take();
      s->text = expect_name("the name of an attribute");
      expect_operator("=");
      s->expressions.push_back(tuple_or_expression());
      return block_end(), std::move(s);
    }
    auto s = make(SKind::kSet, offset);
    s->names = target_names();
    if (take_operator("=")) {
      s->expressions.push_back(tuple_or_expression());
      return block_end(), std::move(s);
    }
    if (s->names.size() != 1) fail(offset, "a set block has one name");
    s->kind = SKind::kSetBlock;
    s->expressions.push_back(take_operator("|") ? filters_only() : nullptr);
    block_end();
    s->bodies.push_back(until({"endset"}));
    return end_tag(), std::move(s);
  }

  void parameters(Statement& s) {
    expect_operator("(");
    while (!is_operator(")")) {
      s.names.push_back(target_name());
      if (!take_operator("=")) {
        if (!s.expressions.empty() && s.expressions.back())
          fail(peek().offset, "a parameter without default behind one with default");
        s.expressions.push_back(nullptr);
      } else {
        s.expressions.push_back(expression());
      }
      if (!take_operator(",")) break;
    }
    expect_operator(")");
  }

  StatementPtr macro_tag(std::size_t offset) {
    auto s = make(SKind::kMacro, offset);
    s->text = target_name();
    parameters(*s);
    block_end();
    s->bodies.push_back(separate({"endmacro"}));
    return end_tag(), std::move(s);
  }

  // The body of a macro or call: a loop around it is not its own.
  Body separate(std::initializer_list<std::string_view> ends) {
    const int outer = loops_;
    loops_ = 0;
    Body body = until(ends);
    loops_ = outer;
    return body;
  }

  StatementPtr call_tag(std::size_t offset) {
    auto s = make(SKind::kCallBlock, offset);
    if (is_operator("(")) parameters(*s);
    const std::size_t at = peek().offset;
    ExpressionPtr call = expression();
    if (call->kind != Expression::Kind::kCall) fail(at, "expected a call");
    s->expressions.insert(s->expressions.begin(), std::move(call));
    block_end();
    s->bodies.push_back(separate({"endcall"}));
    return end_tag(), std::move(s);
  }

  StatementPtr with_tag(std::size_t offset) {
    auto s = make(SKind::kWith, offset);
    while (peek().kind != TokenKind::kBlockEnd) {
      s->names.push_back(target_name());
      expect_operator("=");
      s->expressions.push_back(expression());
      if (!take_operator(",")) break;
    }
    block_end();
    s->bodies.push_back(until({"endwith"}));
    return end_tag(), std::move(s);
  }

  int loops_ = 0;
  int nesting_ = 0;
};

}  // namespace

Body parse(std::string_view source) { return Parser(source).run(); }

}  // namespace r1::jinja
