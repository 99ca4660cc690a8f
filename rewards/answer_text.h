// An answer as text: LaTeX dressing removed, and the canonical form in which answers that are no numbers are compared.
#pragma once

#include <string>
#include <string_view>

namespace r1 {

// Removes what does not change an answer's meaning: math delimiters, \left \right, spacing commands, \text{..} and font
// commands around their content, markdown emphasis, a final point; unifies \dfrac \tfrac, \cdot \times (as *), \div,
// {,} and \! inside numbers, \$ and \%. Input is plain_forms() text. Linear.
std::string clean_answer(std::string_view text);

// The key under which two non-numeric answers are equal: of clean_answer() text, without white space, arguments of ^ _
// \sqrt \frac braced, brackets around one letter dropped. Words of two and more letters compare without case; single
// letters and formulas with it.
std::string text_key(std::string_view cleaned);

}  // namespace r1
