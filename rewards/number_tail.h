// What follows a number in an answer: %, units, ordinal endings, words.
#pragma once

#include <string_view>

#include "rewards/number.h"

namespace r1 {

// Reads `rest`, the text behind a number, into percent and unit of `out`; magnitude words multiply its value. False if
// the rest is something else than a unit or words that leave the value alone.
bool read_number_tail(std::string_view rest, Number& out);

}  // namespace r1
