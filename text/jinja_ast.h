// The syntax tree of a template, and the parser that makes it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja_value.h"

namespace r1::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

struct CallArguments {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
};

struct Expression {
  enum class Kind {
    kLiteral,      // value
    kName,         // text
    kAttribute,    // parts[0].text
    kSubscript,    // parts[0][parts[1]]
    kSlice,        // parts[0][parts[1]:parts[2]:parts[3]], absent parts are null
    kCall,         // parts[0](arguments)
    kFilter,       // parts[0] | text(arguments); parts[0] is null for the text of a filter block
    kTest,         // parts[0] is text(arguments)
    kNot,          // not parts[0]
    kNegative,     // -parts[0]
    kPositive,     // +parts[0]
    kAnd, kOr,     // parts[0], parts[1]
    kBinary,       // parts[0] text parts[1]
    kConcat,       // parts joined as text (~)
    kCompare,      // parts[0] operators[0] parts[1] operators[1] parts[2] ...
    kConditional,  // parts[0] if parts[1] else parts[2] (may be null)
    kList, kTuple, // parts
    kDict,         // parts: key, value, key, value, ...
  };
  Kind kind;
  std::size_t offset;
  std::string text;
  Value value;
  std::vector<ExpressionPtr> parts;
  std::vector<std::string> operators;
  CallArguments arguments;
};

struct Statement;
using Body = std::vector<std::unique_ptr<Statement>>;

struct Statement {
  enum class Kind {
    kText,       // text
    kOutput,     // expressions[0]
    kIf,         // expressions[i] guards bodies[i]; one more body = else
    kFor,        // names in expressions[0], if expressions[1] (may be null): bodies[0], else bodies[1]
    kSet,        // names = expressions[0]; or target.attribute = expressions[0] with names = {target}, text = attribute
    kSetBlock,   // names[0] = bodies[0], through the filters of expressions[0] (may be null)
    kMacro,      // text(names...) with defaults in expressions (null = none): bodies[0]
    kCallBlock,  // expressions[0] is a call whose macro may call caller(names...): bodies[0]
    kWith,       // names[i] = expressions[i]: bodies[0]
    kFilterBlock,  // expressions[0] applied to bodies[0]
    kGroup,        // bodies[0] ({% generation %})
    kBreak,
    kContinue,
  };
  Kind kind;
  std::size_t offset;
  std::string text;
  std::vector<std::string> names;
  std::vector<ExpressionPtr> expressions;
  std::vector<Body> bodies;
};

// Throws DataError with line and column.
Body parse(std::string_view source);

}  // namespace r1::jinja
