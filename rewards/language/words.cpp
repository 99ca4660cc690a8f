#include "rewards/language/words.h"

#include <memory>
#include <stdexcept>
#include <string>

#include <unicode/brkiter.h>
#include <unicode/uchar.h>
#include <unicode/uscript.h>
#include <unicode/utext.h>
#include <unicode/utf8.h>

namespace r1 {
namespace {

constexpr std::size_t kLongSentence = 12, kShortestPart = 6;  // words

void check(UErrorCode status, const char* what) {
  if (U_FAILURE(status)) throw std::runtime_error(std::string("ICU ") + what + ": " + u_errorName(status));
}

// Opening an iterator loads and checks its rules, which costs more than a short text does: made once, cloned for each
// use, since an iterator holds its position.
std::unique_ptr<icu::BreakIterator> word_iterator() {
  static const std::unique_ptr<const icu::BreakIterator> kOriginal = [] {
    UErrorCode status = U_ZERO_ERROR;
    std::unique_ptr<const icu::BreakIterator> it(icu::BreakIterator::createWordInstance(icu::Locale::getRoot(), status));
    check(status, "word breaks");
    return it;
  }();
  return std::unique_ptr<icu::BreakIterator>(kOriginal->clone());
}
std::unique_ptr<icu::BreakIterator> sentence_iterator() {
  static const std::unique_ptr<const icu::BreakIterator> kOriginal = [] {
    UErrorCode status = U_ZERO_ERROR;
    std::unique_ptr<const icu::BreakIterator> it(
        icu::BreakIterator::createSentenceInstance(icu::Locale::getRoot(), status));
    check(status, "sentence breaks");
    return it;
  }();
  return std::unique_ptr<icu::BreakIterator>(kOriginal->clone());
}

// The script of the first letter that has one of its own, and the number of letters.
void read_letters(std::string_view utf8, Word& word) {
  for (std::size_t i = word.begin; i < word.end;) {
    UChar32 c = 0;
    std::int32_t used = 0;
    U8_NEXT(reinterpret_cast<const std::uint8_t*>(utf8.data()) + i, used,
            static_cast<std::int32_t>(std::min<std::size_t>(word.end - i, 4)), c);
    i += static_cast<std::size_t>(used);
    if (c < 0 || !u_isalpha(c)) continue;
    ++word.letters;
    if (word.script != 0) continue;
    UErrorCode status = U_ZERO_ERROR;
    const UScriptCode script = uscript_getScript(c, &status);
    // Common is 0, Inherited 1: the long vowel mark of kana is one of these.
    if (U_SUCCESS(status) && script > USCRIPT_INHERITED) word.script = script;
  }
}

bool names_variables(Script script) {
  return script == USCRIPT_LATIN || script == USCRIPT_GREEK || script == USCRIPT_CYRILLIC;
}

bool ends_part(std::string_view between) {
  if (between.find_first_of(",;:()\"") != between.npos) return true;
  for (const std::string_view mark : {"\u2014", "\u2013", "\uFF0C", "\u3001", "\uFF1B", "\u060C", "\u201C", "\u201D"}) {
    if (between.find(mark) != between.npos) return true;
  }
  return false;
}

void add_sentence(std::string_view utf8, std::size_t first, std::size_t last, WordList& list) {
  if (first == last) return;
  if (last - first >= kLongSentence) {
    for (std::size_t w = first + kShortestPart; w + kShortestPart <= last; ++w) {
      const std::size_t from = list.words[w - 1].end;
      if (w - first < kShortestPart || !ends_part(utf8.substr(from, list.words[w].begin - from))) continue;
      list.clauses.push_back({first, w});
      first = w;
    }
  }
  list.clauses.push_back({first, last});
}

}  // namespace

WordList find_words(std::string_view utf8) {
  WordList list;
  UErrorCode status = U_ZERO_ERROR;
  UText opened = UTEXT_INITIALIZER;
  const std::unique_ptr<UText, UText* (*)(UText*)> text(
      utext_openUTF8(&opened, utf8.data(), static_cast<std::int64_t>(utf8.size()), &status), utext_close);
  check(status, "text");
  const auto words = word_iterator();
  words->setText(text.get(), status);
  check(status, "word breaks");
  for (std::int32_t begin = words->first(), end = words->next(); end != icu::BreakIterator::DONE;
       begin = end, end = words->next()) {
    if (words->getRuleStatus() < UBRK_WORD_LETTER) continue;  // spaces, symbols, numbers
    Word word{static_cast<std::size_t>(begin), static_cast<std::size_t>(end)};
    read_letters(utf8, word);
    if (word.letters == 0 || (word.letters == 1 && names_variables(word.script))) continue;
    list.words.push_back(word);
  }

  const auto sentences = sentence_iterator();
  sentences->setText(text.get(), status);
  check(status, "sentence breaks");
  sentences->first();
  std::size_t next = 0;
  for (std::int32_t end = sentences->next(); end != icu::BreakIterator::DONE; end = sentences->next()) {
    const std::size_t first = next;
    while (next < list.words.size() && list.words[next].begin < static_cast<std::size_t>(end)) ++next;
    add_sentence(utf8, first, next, list);
  }
  return list;
}

}  // namespace r1
