// Words of a text with their script, in clauses: what a detector labels at once.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "rewards/language/languages.h"

namespace r1 {

struct Word {
  std::size_t begin = 0, end = 0;  // bytes of the text
  Script script = 0;
  std::size_t letters = 0;         // code points
};

// Words [first, last) of the list. A clause is a sentence, or a part of a long one between commas and the like, so that
// two languages in one sentence are not taken for one.
struct Clause {
  std::size_t first = 0, last = 0;
};

struct WordList {
  std::vector<Word> words;
  std::vector<Clause> clauses;
};

// By ICU's break iterators: dictionary words for Han, kana and Thai, else what Unicode's rules say. Numbers, symbols and
// single letters of Latin, Greek and Cyrillic are left out. `utf8` is valid UTF-8. Throws if ICU's data are missing.
WordList find_words(std::string_view utf8);

}  // namespace r1
