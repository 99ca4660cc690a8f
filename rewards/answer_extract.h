// Where in a completion the answer stands. One pass over the text, no regular expressions: linear time.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace r1 {

// What the answer is read from. kAuto tries in this order: the last <answer> tag narrows the text to its content; then
// the last balanced \boxed{} or \fbox{}; "#### ..." with a number; "final answer is ..." and its like; (inside a tag)
// the whole content; the last math span or plain number, whichever comes later.
enum class AnswerSource : unsigned char { kAuto, kBoxed, kTag, kHash, kPhrase, kLastNumber, kWhole };

struct ExtractedAnswer {
  bool found = false;
  std::string_view text;                 // into the argument of extract_answer()
  const char* how = "none";              // "boxed", "hash", "phrase", "tag", "math", "number", "whole"
  std::string_view why_not;              // when !found: "no_answer", "inside_expression", "several", "empty"
  std::vector<std::string_view> others;  // kBoxed: the earlier boxes, for the check that all agree
  // kBoxed: boxes that stand side by side at the end, "\boxed{1}, \boxed{2}" or "... and ...", with the last; empty if
  // it stands alone. `others` leaves them out.
  std::vector<std::string_view> beside;
};

// `text` is plain_forms() of the part that may hold the answer. Views in the result point into it.
ExtractedAnswer extract_answer(std::string_view text, AnswerSource source);

// Contents of all balanced \boxed{...} and \fbox{...} that are not inside another one, in order.
std::vector<std::string_view> boxed_contents(std::string_view text);

// The last number of prose with its sign, currency, mixed part, % or unit; "a/b" and \frac{a}{b} count whole. Refused,
// with why_not: a number that is a piece of a formula (x^2, 2x, 10 - 5, 3:30), one of several alternatives ("12 or
// 13").
ExtractedAnswer last_number(std::string_view text);

}  // namespace r1
