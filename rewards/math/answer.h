// One side of a comparison, read once.
#pragma once

#include <string>
#include <string_view>

#include "rewards/answer_text.h"
#include "rewards/math/parser.h"

namespace r1::math {

struct Answer {
  std::string text;  // cleaned; what people see where there is no tree
  Parsed parsed;     // a tree, or why there is none
  // Multiple choice: the letter of "C", "(C)", "C.", "(C) 12", "option C"; 0 if it is none.
  char choice = 0;
  Parsed content;     // what follows the letter, if anything does
  bool choice_alone = false;
  bool word = false;  // letters only: a name rather than a product, "act" is not "cat"

  bool is_number() const { return parsed.number; }
  std::string key() const { return text_key(text); }  // how texts compare
  bool empty() const { return !parsed.ok() && key().empty(); }
  // Nothing to compare: empty, or past a limit of the parser.
  bool unreadable() const { return parsed.over_limit() || empty(); }
};

// `plain` is plain_forms() text, in any dress: LaTeX, plain text. A failed parse never falls back to a number within.
Answer read_answer(std::string_view plain);
std::string to_string(const Answer& answer);  // one line for the columns gold_parsed and answer_parsed

}  // namespace r1::math
