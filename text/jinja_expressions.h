// A cursor over the tokens, and the parser of expressions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/jinja_ast.h"
#include "text/jinja_lexer.h"

namespace r1::jinja {

class ExpressionParser {
 public:
  ExpressionParser(std::string_view source, std::vector<Token> tokens) : source_(source), tokens_(std::move(tokens)) {}

 protected:
  using Kind = Expression::Kind;
  // An expression with the inline if; then also a tuple without parentheses.
  ExpressionPtr expression(bool with_condition = true);
  ExpressionPtr tuple_or_expression(bool with_condition = true);
  ExpressionPtr filters_only();  // "upper | trim" of a filter block or a set block
  CallArguments call_arguments();

  [[noreturn]] void fail(std::size_t offset, const std::string& why) const;
  const Token& peek(std::size_t ahead = 0) const { return tokens_[std::min(next_ + ahead, tokens_.size() - 1)]; }
  const Token& take() { return tokens_[std::min(next_++, tokens_.size() - 1)]; }
  bool is_operator(std::string_view op) const { return peek().kind == Token::Kind::kOperator && peek().text == op; }
  bool is_name(std::string_view name) const { return peek().kind == Token::Kind::kName && peek().text == name; }
  bool take_operator(std::string_view op);
  bool take_name(std::string_view name);
  void expect_operator(std::string_view op);
  std::string expect_name(const char* what);
  std::string shown(const Token& token) const;

  std::string_view source_;
  std::vector<Token> tokens_;
  std::size_t next_ = 0;

 private:
  struct Depth;  // bounds recursion, for hostile input
  ExpressionPtr make(Kind kind, std::size_t offset) const;
  ExpressionPtr join(Kind kind, std::size_t offset, ExpressionPtr a, ExpressionPtr b, std::string text = "") const;
  ExpressionPtr logical_or();
  ExpressionPtr logical_and();
  ExpressionPtr logical_not();
  ExpressionPtr comparison();
  ExpressionPtr sum();
  ExpressionPtr concatenation();
  ExpressionPtr product();
  ExpressionPtr power();
  ExpressionPtr unary(bool with_filters = true);
  ExpressionPtr primary();
  ExpressionPtr postfix(ExpressionPtr e);
  ExpressionPtr filters(ExpressionPtr e);
  ExpressionPtr one_filter(ExpressionPtr e);
  ExpressionPtr test(ExpressionPtr e);
  ExpressionPtr subscript(ExpressionPtr e, std::size_t offset);
  ExpressionPtr dict(std::size_t offset);
  int depth_ = 0;
};

}  // namespace r1::jinja
