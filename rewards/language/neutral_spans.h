// Parts of a chain of thought that belong to no language: code, formulas, links, numbers, names of variables.
#pragma once

#include <string>
#include <string_view>

namespace r1 {

// A copy of the same length in which every byte of a neutral span, and of invalid UTF-8, is a space; so offsets stay.
// Neutral: fenced and inline code; $..$, $$..$$, \(..\), \[..\], LaTeX environments, commands with their arguments;
// URLs, e-mail addresses, paths, tags; words with a digit or an underscore, camelCase, dotted names, names of calls
// "f(", single Latin, Greek and Cyrillic letters, acronyms of up to five capitals, names of mathematical functions, units.
// A formula or inline code that holds prose (six words in a row) is text, and so is a fenced block that is prose for the
// most part: else any language could hide between two dollar signs. Linear time.
std::string blank_neutral(std::string_view text);

// At least six words of two letters or more with single spaces between, or twelve letters of a script without spaces.
bool reads_like_prose(std::string_view utf8);

}  // namespace r1
