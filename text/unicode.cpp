#include "text/unicode.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

namespace r1::unicode {
namespace {

namespace tables = unicode_tables;
constexpr std::size_t kCodes = 0x110000;
constexpr unsigned kAlternating = 30;  // the run's pseudo-category: Lu and Ll by turns

std::uint8_t class_of(Category k) {
  switch (k) {
    case Lu: case Ll: case Lt: case Lm: case Lo: return kLetter | kWord;
    case Mn: case Mc: case Me: return kMark | kWord;
    case Nd: case Nl: return kNumber | kNumeric | kWord;
    case No: return kNumber | kNumeric;
    case Pc: return kPunctuation | kWord;
    case Pd: case Ps: case Pe: case Pi: case Pf: case Po: return kPunctuation;
    case Sm: case Sc: case Sk: case So: return kSymbol;
    default: return 0;
  }
}

// Keeps one copy of equal 256-blocks.
void compress(const std::vector<std::uint8_t>& flat, std::uint16_t* index, std::vector<std::uint8_t>& blocks) {
  std::unordered_map<std::string_view, std::uint16_t> seen;
  for (std::size_t b = 0; b < kCodes / 256; ++b) {
    const std::string_view block(reinterpret_cast<const char*>(flat.data()) + b * 256, 256);
    const auto [it, is_new] = seen.try_emplace(block, static_cast<std::uint16_t>(seen.size()));
    if (is_new) blocks.insert(blocks.end(), block.begin(), block.end());
    index[b] = it->second;
  }
}

const std::unordered_map<char32_t, char32_t>& lower_map() {
  static const auto map = [] {
    std::unordered_map<char32_t, char32_t> m;
    for (const auto& r : tables::kLower) {
      for (std::uint32_t c = r.first; c <= r.last; c += r.stride)
        m[c] = static_cast<char32_t>(std::int64_t{c} + r.difference);
    }
    return m;
  }();
  return map;
}

// Length of the well-formed character at s, or minus the length of the maximal ill-formed part; `cut` is set when
// that part ends with the input and could still become a character (Unicode standard, table 3-7).
int scan(const unsigned char* s, std::size_t n, bool& cut) {
  cut = false;
  if (s[0] < 0x80) return 1;
  int length = 0;
  unsigned char low = 0x80, high = 0xBF;
  if (s[0] >= 0xC2 && s[0] <= 0xDF) {
    length = 2;
  } else if (s[0] >= 0xE0 && s[0] <= 0xEF) {
    length = 3;
    if (s[0] == 0xE0) low = 0xA0;
    if (s[0] == 0xED) high = 0x9F;
  } else if (s[0] >= 0xF0 && s[0] <= 0xF4) {
    length = 4;
    if (s[0] == 0xF0) low = 0x90;
    if (s[0] == 0xF4) high = 0x8F;
  } else {
    return -1;
  }
  for (int i = 1; i < length; ++i) {
    if (static_cast<std::size_t>(i) >= n) return cut = true, -i;
    if (s[i] < low || s[i] > high) return -i;
    low = 0x80, high = 0xBF;
  }
  return length;
}

const unsigned char* bytes_of(std::string_view s) { return reinterpret_cast<const unsigned char*>(s.data()); }

std::size_t ascii_prefix(std::string_view text) {
  std::size_t i = 0;
  for (; i + 8 <= text.size(); i += 8) {
    std::uint64_t word;
    std::memcpy(&word, text.data() + i, 8);
    if (word & 0x8080808080808080ull) break;
  }
  while (i < text.size() && static_cast<unsigned char>(text[i]) < 0x80) ++i;
  return i;
}

}  // namespace

Tables::Tables() {
  std::vector<std::uint8_t> category(kCodes, Cn), classes(kCodes, 0);
  const auto runs = tables::kCategoryRuns;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const std::uint32_t first = runs[i] >> 5, end = i + 1 < runs.size() ? runs[i + 1] >> 5 : kCodes;
    const unsigned k = runs[i] & 31;
    for (std::uint32_t c = first; c < end; ++c) {
      category[c] = static_cast<std::uint8_t>(k != kAlternating ? k : (c - first) % 2 ? unsigned{Ll} : unsigned{Lu});
    }
  }
  for (std::size_t c = 0; c < kCodes; ++c) classes[c] = class_of(static_cast<Category>(category[c]));
  for (std::uint32_t c : tables::kNumericExtra) classes[c] |= kNumeric;
  for (const auto& r : tables::kWhiteSpace) {
    for (std::uint32_t c = r.first; c <= r.last; ++c) classes[c] |= kSpace;
  }
  for (const auto& r : tables::kWordExtra) {
    for (std::uint32_t c = r.first; c <= r.last; ++c) classes[c] |= kWord;
  }
  compress(category, category_index, category_blocks);
  compress(classes, class_index, class_blocks);
}

const Tables& Tables::get() {
  static const Tables tables;
  return tables;
}

void append(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += {static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 63))};
  } else if (c < 0x10000) {
    out += {static_cast<char>(0xE0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 63)),
            static_cast<char>(0x80 | (c & 63))};
  } else {
    out += {static_cast<char>(0xF0 | c >> 18), static_cast<char>(0x80 | (c >> 12 & 63)),
            static_cast<char>(0x80 | (c >> 6 & 63)), static_cast<char>(0x80 | (c & 63))};
  }
}

bool is_ascii(std::string_view text) { return ascii_prefix(text) == text.size(); }

bool is_valid(std::string_view bytes) {
  bool cut;
  for (std::size_t i = ascii_prefix(bytes); i < bytes.size();) {
    const int n = scan(bytes_of(bytes) + i, bytes.size() - i, cut);
    if (n < 0) return false;
    i += static_cast<std::size_t>(n);
  }
  return true;
}

std::string repair(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  bool cut;
  for (std::size_t i = 0; i < bytes.size();) {
    const int n = scan(bytes_of(bytes) + i, bytes.size() - i, cut);
    if (n > 0) {
      out.append(bytes.substr(i, static_cast<std::size_t>(n)));
    } else {
      out += "\xEF\xBF\xBD";
    }
    i += static_cast<std::size_t>(std::abs(n));
  }
  return out;
}

std::size_t complete_prefix(std::string_view bytes) {
  for (std::size_t back = 1; back <= 3 && back <= bytes.size(); ++back) {
    const std::size_t at = bytes.size() - back;
    if ((bytes_of(bytes)[at] & 0xC0) == 0x80) continue;
    bool cut = false;
    scan(bytes_of(bytes) + at, back, cut);
    return cut ? at : bytes.size();
  }
  return bytes.size();
}

std::string lower(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const char32_t c = next_char(text, i);
    if (c < 0x80) {
      out += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    } else if (c == 0x130) {
      out += "i\xCC\x87";  // I with dot: the one character whose lower case has two
    } else {
      const auto it = lower_map().find(c);
      append(out, it == lower_map().end() ? c : it->second);
    }
  }
  return out;
}

bool is_space(char32_t c) { return Tables::get().classes(c) & kSpace; }

std::size_t trim_left(std::string_view text) {
  std::size_t i = 0;
  while (i < text.size()) {
    std::size_t next = i;
    if (!is_space(next_char(text, next))) break;
    i = next;
  }
  return i;
}

std::size_t trim_right(std::string_view text) {
  std::size_t end = text.size();
  while (end > 0) {
    const std::size_t start = previous_start(text, end);
    std::size_t pos = start;
    if (!is_space(next_char(text, pos))) break;
    end = start;
  }
  return end;
}

}  // namespace r1::unicode
