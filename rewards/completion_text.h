// What several rewards need from a completion's text: where the answer part is, whether it ended, plain forms of
// Unicode digits and signs.
#pragma once

#include <string>
#include <string_view>

#include "core/types.h"

namespace r1 {

// The model ended by itself (end token or stop string), not by the token budget or a cancel.
inline bool ended(const Completion& c) { return c.stop == StopReason::kEos || c.stop == StopReason::kStop; }

// True if the prompt's rendered text ends with an opening <think> (white space after it allowed): the chat template
// opened the block, so the completion begins inside it.
bool prompt_opens_think(const Prompt& prompt);

// The part of a completion that may hold the answer: what follows the last </think>. `closed` is false if a think block
// was opened (by the prompt, or as the completion's first word) and never closed; then `text` is empty.
struct AnswerRegion {
  std::string_view text;
  bool closed = true;
};
AnswerRegion after_think(std::string_view completion, bool opened_by_prompt);

// The content of the last <answer>...</answer>; one left open at the end counts (a stop string may have cut its closing
// tag). found = false: no opening tag.
struct TaggedAnswer {
  std::string_view text;
  bool found = false;
};
TaggedAnswer last_answer_tag(std::string_view text);

// ASCII in place of look-alikes, for reading numbers and formulas: full-width forms, digits of every script, minus
// signs and dashes, multiplication and division signs, superscripts (as ^{..}), vulgar fractions (" 1/2"), degree sign
// (^\circ), odd spaces; zero-width characters are dropped. Other text is kept; invalid UTF-8 bytes are kept as they
// are. Linear.
std::string plain_forms(std::string_view utf8);

std::string_view trim(std::string_view text);  // white space of ASCII at both ends
// The position after the white space character of any script at text[i]; i if there is none.
std::size_t after_white_space(std::string_view utf8, std::size_t i);
// At least one letter or digit of any script.
bool has_word(std::string_view utf8);

}  // namespace r1
