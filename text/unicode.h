// UTF-8 and character classes for tokenizers, independent of the Unicode version of any system library.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/unicode_tables.h"

namespace r1::unicode {

// General categories in the order of the tables.
enum Category : std::uint8_t {
  Cn, Lu, Ll, Lt, Lm, Lo, Mn, Mc, Me, Nd, Nl, No, Pc, Pd, Ps, Pe, Pi, Pf, Po, Sm, Sc, Sk, So, Zs, Zl, Zp, Cc, Cf, Co, Cs
};

// Bits of a code point's class byte.
enum ClassBit : std::uint8_t {
  kLetter = 1,       // \p{L}
  kNumber = 2,       // \p{N}
  kMark = 4,         // \p{M}
  kPunctuation = 8,  // \p{P}
  kSymbol = 16,      // \p{S}
  kSpace = 32,       // \s of Oniguruma and Rust: the property White_Space
  kNumeric = 64,     // char::is_numeric of Rust
  kWord = 128,       // \w of Rust's regex crate
};

// Two-level tables over all code points; filled once, before first use.
struct Tables {
  Tables();
  static const Tables& get();
  std::uint8_t classes(char32_t c) const { return class_blocks[class_index[c >> 8] * 256u + (c & 255)]; }
  Category category(char32_t c) const {
    return static_cast<Category>(category_blocks[category_index[c >> 8] * 256u + (c & 255)]);
  }
  std::uint16_t class_index[0x1100];
  std::uint16_t category_index[0x1100];
  std::vector<std::uint8_t> class_blocks, category_blocks;
};

// Decodes the character at text[pos] and moves pos behind it. The text must be valid UTF-8 and pos < size.
inline char32_t next_char(std::string_view text, std::size_t& pos) {
  const auto* s = reinterpret_cast<const unsigned char*>(text.data()) + pos;
  if (s[0] < 0x80) return pos += 1, s[0];
  if (s[0] < 0xE0) return pos += 2, char32_t(s[0] & 0x1F) << 6 | (s[1] & 0x3F);
  if (s[0] < 0xF0) return pos += 3, char32_t(s[0] & 0x0F) << 12 | char32_t(s[1] & 0x3F) << 6 | (s[2] & 0x3F);
  return pos += 4, char32_t(s[0] & 7) << 18 | char32_t(s[1] & 0x3F) << 12 | char32_t(s[2] & 0x3F) << 6 | (s[3] & 0x3F);
}
// Start of the character that ends just before pos > 0.
inline std::size_t previous_start(std::string_view text, std::size_t pos) {
  do --pos;
  while ((static_cast<unsigned char>(text[pos]) & 0xC0) == 0x80);
  return pos;
}
void append(std::string& out, char32_t c);

bool is_ascii(std::string_view text);
bool is_valid(std::string_view bytes);
// Replaces each maximal ill-formed part by U+FFFD, as Rust's from_utf8_lossy and Python's errors="replace" do.
std::string repair(std::string_view bytes);
// Length of the longest prefix that does not end inside a character which further bytes could still complete.
std::size_t complete_prefix(std::string_view bytes);

// Rust's char::to_lowercase on every character (no context: sigma stays sigma).
std::string lower(std::string_view text);
bool is_space(char32_t c);
std::size_t trim_left(std::string_view text);   // offset of the first character that is no white space
std::size_t trim_right(std::string_view text);  // offset behind the last one; 0 if there is none

}  // namespace r1::unicode
