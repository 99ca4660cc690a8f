// Language consistency: the share of words of the target language in a text (DeepSeek-R1, arXiv 2501.12948, 2.3.2: "the
// proportion of target language words in the CoT"; words, formulas and names are not defined there, they are here).
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>

#include "rewards/language/languages.h"

namespace r1 {

struct ConsistencyOptions {
  double allowance = 0.02;    // this share of the counted words may be foreign for free: names, quotes
  std::size_t min_words = 5;  // fewer counted words say nothing of a language: score 0, not defined
  bool use_detector = true;   // false: by script alone
};

struct Consistency {
  double score = 0;           // target / (target + other - allowed); 0 if not defined
  bool defined = false;
  std::size_t target_words = 0;
  std::size_t other_words = 0;
  std::size_t unsure_words = 0;  // of a shared script, and no detector, neighbour or whole text could say
  std::map<std::string, std::size_t> others;  // words by language, or by script where that is all that is known
};

// A word's language: its script where that decides; Han counts as Japanese in a sentence with kana, else as Chinese.
// Words of a shared script (Latin, Cyrillic, Arabic, Devanagari) take the label that the detector gives their clause; a
// clause without one takes that of the clause before it, or after it, or of the whole text. By script alone all words of
// the target's script count as the target's. Neutral spans are cut out here. Thread-safe; linear time.
Consistency language_consistency(std::string_view text, const Language& target, const ConsistencyOptions& = {});

// The language most of a text is in, by the same rules; null if it cannot be told (too short, or a shared script and no
// detector).
const Language* guess_language(std::string_view text, bool use_detector = true);

}  // namespace r1
