#include "rewards/language/languages.h"

#include <algorithm>
#include <array>

#include <unicode/uscript.h>

namespace r1 {
namespace {

constexpr std::array<Script, 1> kLatin{USCRIPT_LATIN}, kCyrillic{USCRIPT_CYRILLIC}, kArabic{USCRIPT_ARABIC},
    kDevanagari{USCRIPT_DEVANAGARI}, kHan{USCRIPT_HAN}, kHangul{USCRIPT_HANGUL}, kThai{USCRIPT_THAI},
    kGreek{USCRIPT_GREEK}, kHebrew{USCRIPT_HEBREW}, kBengali{USCRIPT_BENGALI}, kTamil{USCRIPT_TAMIL},
    kTelugu{USCRIPT_TELUGU}, kGeorgian{USCRIPT_GEORGIAN}, kArmenian{USCRIPT_ARMENIAN};
constexpr std::array<Script, 3> kJapanese{USCRIPT_HIRAGANA, USCRIPT_KATAKANA, USCRIPT_HAN};

// `siblings` are close relatives of which a few words look alike; a detector's word for one of them decides nothing.
constexpr auto kLanguages = std::to_array<Language>({
    {"zh", "chinese", kHan, false, ""},
    {"en", "english", kLatin, true, "sco"},
    {"ja", "japanese", kJapanese, false, ""},
    {"ko", "korean", kHangul, false, ""},
    {"ru", "russian", kCyrillic, true, ""},
    {"ar", "arabic", kArabic, true, ""},
    {"de", "german", kLatin, true, "lb"},
    {"fr", "french", kLatin, true, "oc,co"},
    {"es", "spanish", kLatin, true, "gl,ast"},
    {"pt", "portuguese", kLatin, true, "gl"},
    {"it", "italian", kLatin, true, "co"},
    {"vi", "vietnamese", kLatin, true, ""},
    {"th", "thai", kThai, false, ""},
    {"hi", "hindi", kDevanagari, true, "bh"},
    {"nl", "dutch", kLatin, true, "af,fy"},
    {"pl", "polish", kLatin, true, ""},
    {"sv", "swedish", kLatin, true, ""},
    {"da", "danish", kLatin, true, "no,nn"},
    {"no", "norwegian", kLatin, true, "da,nn"},
    {"fi", "finnish", kLatin, true, ""},
    {"cs", "czech", kLatin, true, "sk"},
    {"hu", "hungarian", kLatin, true, ""},
    {"ro", "romanian", kLatin, true, ""},
    {"tr", "turkish", kLatin, true, "az"},
    {"id", "indonesian", kLatin, true, "ms"},
    {"uk", "ukrainian", kCyrillic, true, ""},
    {"bg", "bulgarian", kCyrillic, true, "mk"},
    {"fa", "persian", kArabic, true, ""},
    {"ur", "urdu", kArabic, true, ""},
    {"el", "greek", kGreek, false, ""},
    {"he", "hebrew", kHebrew, false, ""},
    {"bn", "bengali", kBengali, false, ""},
    {"ta", "tamil", kTamil, false, ""},
    {"te", "telugu", kTelugu, false, ""},
    {"ka", "georgian", kGeorgian, false, ""},
    {"hy", "armenian", kArmenian, false, ""},
});

std::string lower_ascii(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return out;
}

}  // namespace

std::span<const Language> languages() { return kLanguages; }

const Language* find_language(std::string_view name) {
  const std::string wanted = lower_ascii(name.substr(0, name.find_first_of("-_")));
  const auto at = std::find_if(kLanguages.begin(), kLanguages.end(),
                               [&](const Language& l) { return l.code == wanted || l.name == wanted; });
  return at == kLanguages.end() ? nullptr : &*at;
}

std::string language_codes() {
  std::string out;
  for (const Language& l : kLanguages) {
    if (!out.empty()) out += ", ";
    out += l.code;
  }
  return out;
}

bool written_in(const Language& language, Script script) {
  return std::find(language.scripts.begin(), language.scripts.end(), script) != language.scripts.end();
}

std::string script_label(Script script) {
  if (script == USCRIPT_HIRAGANA || script == USCRIPT_KATAKANA) return "ja";
  for (const Language& l : kLanguages) {
    if (!l.shared && written_in(l, script)) return std::string(l.code);
  }
  const char* name = uscript_getShortName(static_cast<UScriptCode>(script));
  return name ? name : "?";
}

}  // namespace r1
