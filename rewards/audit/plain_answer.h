// A second reader of final answers. It shares no code with the reward `math` and is plain on purpose: numbers and short
// texts only, other rules for where the answer stands, other arithmetic. What it cannot judge it leaves alone, and that
// depends on the gold answer only, so that no completion can hide behind it. Pure functions; linear time.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace r1::audit {

struct PlainAnswer {
  bool number = false;
  long double value = 0;  // of a number
  std::string integer;    // canonical digits with sign if it was written as one: compared exactly at any length
  int decimals = 0;       // digits after the point as written
  std::string text;       // as read; of a text: lower case words with single spaces
};

// The gold answer of a data row: what follows "####", the last box, or all of it. nullopt: it is neither one number (with
// currency, % or a full stop) nor a text without numbers of up to 40 letters: this row is not audited.
std::optional<PlainAnswer> plain_gold(std::string_view reference);

// The answer of a completion that stands last in the text: \boxed{}, <answer>, "####", "answer is", else the last number
// or line; after </think> only. nullopt: there is none. `opened`: the prompt ended inside a think block.
// A number is looked for if the gold is one.
std::optional<PlainAnswer> plain_answer(std::string_view completion, const PlainAnswer& gold, bool opened);

// Numbers: equal to 1e-9, or rounded as the answer is written if it has three decimals or more. Texts: the same words,
// or words that begin or end with the gold's.
bool plain_equal(const PlainAnswer& gold, const PlainAnswer& answer);

}  // namespace r1::audit
