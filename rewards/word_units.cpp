#include "rewards/word_units.h"

#include <algorithm>

#include <unicode/uchar.h>
#include <unicode/uscript.h>
#include <unicode/utf8.h>

#include "core/rng.h"
#include "rewards/language/words.h"

namespace r1 {
namespace {

bool written_without_spaces(Script script) {
  switch (script) {
    case USCRIPT_HAN:
    case USCRIPT_HIRAGANA:
    case USCRIPT_KATAKANA:
    case USCRIPT_THAI:
    case USCRIPT_LAO:
    case USCRIPT_KHMER:
    case USCRIPT_MYANMAR: return true;
    default: return false;
  }
}

std::vector<Word> unspaced_words(std::string_view utf8) {
  // The first of these scripts, Thai, begins at U+0E00: three bytes, the first at least E0. Most texts hold none.
  if (std::none_of(utf8.begin(), utf8.end(), [](char c) { return static_cast<unsigned char>(c) >= 0xE0; })) return {};
  std::vector<Word> words = find_words(utf8).words;
  std::erase_if(words, [](const Word& w) { return !written_without_spaces(w.script); });
  return words;
}

constexpr std::uint64_t kSeed = 0xCBF29CE484222325ull, kPrime = 0x100000001B3ull;  // FNV-1a

}  // namespace

std::vector<std::uint64_t> word_units(std::string_view utf8) {
  const std::vector<Word> words = unspaced_words(utf8);
  std::vector<std::uint64_t> out;
  std::uint64_t hash = kSeed;
  bool open = false;
  const auto close = [&] {
    if (open) out.push_back(mix64(hash));
    hash = kSeed;
    open = false;
  };
  std::size_t next = 0;  // of `words`
  for (std::size_t i = 0; i < utf8.size();) {
    while (next < words.size() && words[next].end <= i) ++next;
    const bool in_word = next < words.size() && words[next].begin <= i;
    if (next < words.size() && words[next].begin == i) close();
    UChar32 c = 0;
    std::int32_t used = 0;
    U8_NEXT(reinterpret_cast<const std::uint8_t*>(utf8.data()) + i, used,
            static_cast<std::int32_t>(std::min<std::size_t>(utf8.size() - i, 4)), c);
    if (c >= 0 && u_isUWhiteSpace(c)) {
      close();
    } else {
      // An invalid byte is itself, above every code point.
      const auto value = c < 0 ? 0x110000u + static_cast<unsigned char>(utf8[i]) : static_cast<std::uint32_t>(u_tolower(c));
      hash = (hash ^ value) * kPrime;
      open = true;
    }
    i += static_cast<std::size_t>(used);
    if (in_word && i >= words[next].end) close();
  }
  close();
  return out;
}

}  // namespace r1
