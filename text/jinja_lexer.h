// Cuts a template into tokens; white space control as jinja2 does it with trim_blocks and lstrip_blocks on.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace r1::jinja {

struct Token {
  enum class Kind {
    kText,
    kVariableBegin,
    kVariableEnd,
    kBlockBegin,
    kBlockEnd,
    kName,
    kString,
    kInteger,
    kFloat,
    kOperator,
    kEnd
  };
  Kind kind;
  std::string text;    // of a string: its value
  std::size_t offset;  // in the source
};

// "line 3, column 7" of an offset; columns count characters.
std::string position(std::string_view source, std::size_t offset);

// `source` must be valid UTF-8 with "\n" line ends (see normalize_lines). Throws DataError with line and column.
std::vector<Token> tokenize(std::string_view source);

// "\r\n" and "\r" become "\n"; one newline at the very end is dropped.
std::string normalize_lines(std::string_view source);

}  // namespace r1::jinja
