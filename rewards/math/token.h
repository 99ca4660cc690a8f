// Cuts a cleaned answer into tokens: numbers, letters, commands, signs.
#pragma once

#include <string_view>
#include <vector>

namespace r1::math {

inline constexpr std::size_t kMaxAnswerBytes = 8000;

struct Token {
  enum Type : unsigned char { kNumber, kLetter, kCommand, kSign, kEnd };
  Type type = kEnd;
  std::string_view text;  // number without sign; letter; command without backslash; one sign, or "<=", ">=", "!=", "\\\\"
  bool space = false;     // white space before it
  bool is(std::string_view s) const { return (type == kSign || type == kCommand) && text == s; }
};

// `text` is clean_answer(plain_forms(...)). Names that plain text writes without a backslash ("sqrt", "pi", "and") and
// Unicode signs become the commands or signs they stand for. `why` is empty, or "too_long", "word" (a word that is no
// mathematics), "character". A run of two or three letters is a product of letters. Ends with kEnd. Linear.
struct Tokens {
  std::vector<Token> list;
  std::string_view why;
};
Tokens tokenize(std::string_view text);

}  // namespace r1::math
