// What can be read off completions without a checker: words of reflection, and the languages they are written in.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "report/run_data.h"

namespace r1::report {

// The ten words of the DeepSeek-R1 paper (Nature 645, 2025, supplement: wait, mistake, however, but, retry, error, verify, wrong,
// evaluate, check) with further phrases of the same kind, and Chinese ones.
std::span<const std::string_view> reflective_words();
// Times each occurs, those that do not left out. Letter case of ASCII is ignored; a word of letters must stand alone ("waiter" is
// none), "let me check" counts as "check" too. Chinese phrases count wherever they stand.
std::map<std::string, std::size_t> count_reflective(std::string_view text);

// Words of the text by language or script (rewards/language/consistency.h); formulas, code and numbers belong to none.
std::map<std::string, std::size_t> words_by_language(std::string_view text);
// The share of the completion's words (of its think block's, if it has one) that are in the question's language: columns["language"], else
// what the question is written in. As the reward `language` counts, but nothing is free. None where the language is not known or the words
// are under five.
std::optional<double> share_in_language(const SampleRow& row);
// At least a tenth of the words are not of the most frequent language. False below five words.
bool is_mixed(const std::map<std::string, std::size_t>& words);

}  // namespace r1::report
