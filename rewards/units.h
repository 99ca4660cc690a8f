// Names of units, currencies and words that follow numbers.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace r1 {

// The canonical name of a unit word or symbol as written ("centimetres" -> "cm", "$" -> "usd"); nullopt if unknown.
// Case matters for one- and two-letter symbols only.
std::optional<std::string> canonical_unit(std::string_view word);

// 1000 for "thousand", 10^4 for the Chinese wan, ...; 0 if the word is no magnitude.
double magnitude_word(std::string_view word);

// Canonical units that may stand for the same: equal, one missing, or the word "units" with the same power.
bool units_agree(std::string_view a, std::string_view b);

// Words that change the value of a number before them: "squared", "or", "pi", ...
bool changes_value(std::string_view word);

}  // namespace r1
