// Cuts a cleaned answer into tokens: numbers, letters, commands, signs.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "rewards/answer_text.h"

namespace r1::math {

inline constexpr std::size_t kMaxAnswerBytes = 8000;

struct Token {
  // kWord: letters that are no mathematics unless they name something: a unit, "apples", the left side of "Area = 5".
  enum Type : unsigned char { kNumber, kLetter, kWord, kCommand, kSign, kEnd };
  Type type = kEnd;
  std::string_view text;  // number without sign; letter; command without backslash; one sign, or "<=", ">=", "!=", "\\\\"
  bool space = false;     // white space before it
  bool upright = false;   // stood in \text{} or the like
  std::uint8_t run = 0;   // of a letter: how many letters stand together from here on
  std::uint32_t at = 0;   // byte position in the text
  bool is(std::string_view s) const { return (type == kSign || type == kCommand) && text == s; }
};

// Names that plain text writes without a backslash ("sqrt", "pi", "and") and Unicode signs become the commands or signs
// they stand for. A run of two or three letters is a product of letters, unless it stood upright or looks like a name
// ("May"). `why` is empty, or "too_long", "word" (a letter of another script), "character". Ends with kEnd. Linear.
struct Tokens {
  std::vector<Token> list;
  std::string_view why;
};
Tokens tokenize(const CleanAnswer& answer);

}  // namespace r1::math
