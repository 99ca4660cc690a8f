// Rules about words, length, language, case and the ends of a response.
#include <algorithm>

#include <unicode/locid.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include "rewards/completion_text.h"
#include "rewards/instructions/arguments.h"
#include "rewards/language/consistency.h"
#include "rewards/language/detector.h"

namespace r1::instructions {
namespace {

icu::UnicodeString unicode(std::string_view text) {
  return icu::UnicodeString::fromUTF8(icu::StringPiece(text.data(), static_cast<int32_t>(text.size())));
}
bool word_char(UChar32 c) { return u_isalnum(c) || c == '_' || u_charType(c) == U_NON_SPACING_MARK; }

// Occurrences of `word` that do not overlap, in lower-cased texts; `whole`: not inside a longer word.
int occurrences(const std::string& text, const std::string& word, bool whole) {
  const icu::UnicodeString haystack = unicode(text), needle = unicode(word);
  if (needle.isEmpty()) return 0;
  int count = 0;
  for (int32_t at = haystack.indexOf(needle); at >= 0;) {
    const int32_t end = at + needle.length();
    const bool joined =
        (at > 0 && word_char(haystack.char32At(haystack.moveIndex32(at, -1))) && word_char(needle.char32At(0))) ||
        (end < haystack.length() && word_char(haystack.char32At(end)) && word_char(needle.char32At(needle.moveIndex32(needle.length(), -1))));
    const bool counts = !whole || !joined;
    count += counts;
    at = haystack.indexOf(needle, counts ? end : at + 1);
  }
  return count;
}

Rule existence(const Arguments& a) {
  return [words = a.texts("keywords")](const std::string& r) {
    const std::string text = lower(r);
    return std::all_of(words.begin(), words.end(), [&](const std::string& w) { return occurrences(text, lower(w), false) > 0; });
  };
}
Rule frequency(const Arguments& a) {
  return [word = lower(a.text("keyword")), holds = a.relation("relation", "frequency")](const std::string& r) {
    return holds(occurrences(lower(r), word, false));
  };
}
Rule forbidden(const Arguments& a) {
  return [words = a.texts("forbidden_words")](const std::string& r) {
    const std::string text = lower(r);
    return std::none_of(words.begin(), words.end(), [&](const std::string& w) { return occurrences(text, lower(w), true) > 0; });
  };
}
Rule letters(const Arguments& a) {
  return [letter = lower(a.text("letter")), holds = a.relation("let_relation", "let_frequency")](const std::string& r) {
    return holds(occurrences(lower(r), letter, false));
  };
}

// The ISO code a text is in; "" if it cannot be told.
std::string language_of(std::string_view text) {
  if (detector_built_in()) {
    std::string found = detect_language(text);
    if (!found.empty()) return found.substr(0, 2);
  }
  const Language* guess = guess_language(text, detector_built_in());
  return guess ? std::string(guess->code) : "";
}
void need_detector(const char* what) {
  if (!detector_built_in()) throw DataError(message(what, ": languages that share a script need CLD2, which this build lacks (libcld2-dev)"));
}
Rule language(const Arguments& a) {
  const std::string wanted = a.text("language");
  const Language* known = find_language(wanted);
  if (!known || known->shared) need_detector("language:response_language");
  return [code = known ? std::string(known->code) : wanted.substr(0, 2)](const std::string& r) { return language_of(r) == code; };
}

Rule sentences(const Arguments& a) {
  return [holds = a.relation("relation", "num_sentences")](const std::string& r) { return holds(count_sentences(r)); };
}
Rule words(const Arguments& a) {
  return [holds = a.relation("relation", "num_words")](const std::string& r) { return holds(count_words(r)); };
}
Rule paragraphs(const Arguments& a) {
  return [n = a.number("num_paragraphs")](const std::string& r) {
    const std::vector<std::string> parts = split(r, "***");
    int count = static_cast<int>(parts.size());
    for (std::size_t i = 0; i < parts.size(); ++i) {
      if (!trim(parts[i]).empty()) continue;
      if (i > 0 && i + 1 < parts.size()) return false;
      --count;
    }
    return count == n;
  };
}
Rule first_word(const Arguments& a) {
  return [n = a.number("num_paragraphs"), nth = a.number("nth_paragraph"), wanted = lower(a.text("first_word"))](const std::string& r) {
    std::vector<std::string> parts = split(r, "\n\n");
    std::erase_if(parts, [](const std::string& p) { return trim(p).empty(); });
    if (static_cast<int>(parts.size()) != n || nth < 1 || nth > n) return false;
    std::string_view text = trim(parts[static_cast<std::size_t>(nth) - 1]);
    while (!text.empty() && (text[0] == '\'' || text[0] == '"')) text.remove_prefix(1);
    return lower(text.substr(0, text.find_first_of(" \t\n.,?!'\""))) == wanted;
  };
}

Rule end_phrase(const Arguments& a) {
  return [end = lower(trim(a.text("end_phrase")))](const std::string& r) {
    std::string_view text = trim(r);
    while (!text.empty() && text.back() == '"') text.remove_suffix(1);
    return lower(text).ends_with(end);
  };
}
Rule quotation(const Arguments&) {
  return [](const std::string& r) {
    const std::string_view text = trim(r);
    return text.size() > 1 && text.front() == '"' && text.back() == '"';
  };
}

Rule capital_words(const Arguments& a) {
  return [holds = a.relation("capital_relation", "capital_frequency")](const std::string& r) {
    const icu::UnicodeString text = unicode(r);
    int count = 0;
    bool cased = false, small = false;
    for (int32_t i = 0; i <= text.length(); i = i < text.length() ? text.moveIndex32(i, 1) : i + 1) {
      const UChar32 c = i < text.length() ? text.char32At(i) : ' ';
      if (word_char(c) || c == '-') {
        cased = cased || u_isupper(c);
        small = small || u_islower(c);
        continue;
      }
      count += cased && !small;
      cased = small = false;
    }
    return holds(count);
  };
}
// At least one letter that has a case, and none of the other case; and English as far as it can be told.
template <bool kUpper>
Rule english_case(const Arguments&) {
  need_detector(kUpper ? "change_case:english_capital" : "change_case:english_lowercase");
  return [](const std::string& r) {
    const icu::UnicodeString text = unicode(r);
    bool any = false;
    for (int32_t i = 0; i < text.length(); i = text.moveIndex32(i, 1)) {
      const UChar32 c = text.char32At(i);
      if (kUpper ? u_islower(c) : u_isupper(c)) return false;
      any = any || (kUpper ? u_isupper(c) : u_islower(c));
    }
    const std::string found = any ? language_of(lower(r)) : "";
    return any && (found.empty() || found == "en");
  };
}
Rule no_comma(const Arguments&) {
  return [](const std::string& r) { return r.find(',') == std::string::npos; };
}

}  // namespace

std::vector<RuleRow> text_rules() {
  return {{"keywords:existence", existence},
          {"keywords:frequency", frequency},
          {"keywords:forbidden_words", forbidden},
          {"keywords:letter_frequency", letters},
          {"language:response_language", language},
          {"length_constraints:number_sentences", sentences},
          {"length_constraints:number_words", words},
          {"length_constraints:number_paragraphs", paragraphs},
          {"length_constraints:nth_paragraph_first_word", first_word},
          {"startend:end_checker", end_phrase},
          {"startend:quotation", quotation},
          {"change_case:capital_word_frequency", capital_words},
          {"change_case:english_capital", english_case<true>},
          {"change_case:english_lowercase", english_case<false>},
          {"punctuation:no_comma", no_comma}};
}

std::string lower(std::string_view text) {
  std::string out;
  unicode(text).toLower(icu::Locale::getRoot()).toUTF8String(out);
  return out;
}

int count_words(std::string_view utf8) {
  const icu::UnicodeString text = unicode(utf8);
  int count = 0;
  bool inside = false;
  for (int32_t i = 0; i < text.length(); i = text.moveIndex32(i, 1)) {
    const bool now = word_char(text.char32At(i));
    count += now && !inside;
    inside = now;
  }
  return count;
}

int count_sentences(std::string_view utf8) {
  static constexpr std::string_view kShort[] = {"mr",  "mrs", "ms", "dr",  "prof", "st", "vs", "etc", "e.g",
                                                "i.e", "fig", "no", "inc", "ltd",  "jr", "sr", "u.s"};
  const icu::UnicodeString text = unicode(utf8);
  int count = 0;
  bool content = false;
  for (int32_t i = 0; i < text.length(); i = text.moveIndex32(i, 1)) {
    const UChar32 c = text.char32At(i);
    if (u_isalnum(c)) content = true;
    const bool wide = c == 0x3002 || c == 0xFF01 || c == 0xFF1F;
    if (!content || !(c == '.' || c == '!' || c == '?' || wide)) continue;
    // Marks and closing quotes stay with the sentence; then white space or the end must follow, but in Chinese.
    int32_t next = text.moveIndex32(i, 1);
    while (next < text.length() && u_ispunct(text.char32At(next))) next = text.moveIndex32(next, 1);
    if (!wide && next < text.length() && !u_isUWhiteSpace(text.char32At(next))) continue;
    if (c == '.') {
      int32_t begin = i;
      while (begin > 0 && !u_isUWhiteSpace(text.char32At(text.moveIndex32(begin, -1)))) begin = text.moveIndex32(begin, -1);
      std::string word;
      icu::UnicodeString(text, begin, i - begin).toLower(icu::Locale::getRoot()).toUTF8String(word);
      const bool initial = i - begin == 1 && u_isupper(text.char32At(begin)) && next < text.length() && text.char32At(begin) != 'I';
      if (initial || (next < text.length() && std::find(std::begin(kShort), std::end(kShort), word) != std::end(kShort))) continue;
    }
    ++count;
    content = false;
    i = text.moveIndex32(next, -1);
  }
  return count + content;
}

}  // namespace r1::instructions
