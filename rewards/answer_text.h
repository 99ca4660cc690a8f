// An answer as text: LaTeX dressing removed, and the canonical form in which answers that are no numbers are compared.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace r1 {

// Removes what does not change an answer's meaning: math delimiters, \left \right, spacing commands, \text{..} and font
// commands around their content, markdown emphasis, a final point; unifies \dfrac \tfrac, \cdot \times (as *), \div,
// {,} and \! inside numbers, \$ and \%. Input is plain_forms() text. Linear.
std::string clean_answer(std::string_view text);

// The same, with the parts that stood upright - in \text, \mathrm, \operatorname and their like: there letters are words
// and units, elsewhere products of letters. Byte positions in `text`, ascending, not nested.
struct CleanAnswer {
  std::string text;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> upright;
};
CleanAnswer clean_answer_spans(std::string_view text);

// The key under which two non-numeric answers are equal: of clean_answer() text, without white space but between digits, arguments of ^ _
// \sqrt \frac braced, brackets around one letter dropped. Words of three and more letters, and a few of two, compare without case; single
// letters and formulas with it.
std::string text_key(std::string_view cleaned);

}  // namespace r1
