#include "text/byte_alphabet.h"

#include <array>

#include "text/unicode.h"

namespace r1 {
namespace {

struct Alphabet {
  std::array<char32_t, 256> character;
  std::array<int, 512> byte;
  Alphabet() {
    byte.fill(-1);
    char32_t next = 256;  // bytes without a printable Latin-1 character get 256, 257, ...
    for (int b = 0; b < 256; ++b) {
      const bool printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      character[static_cast<std::size_t>(b)] = printable ? static_cast<char32_t>(b) : next++;
      byte[character[static_cast<std::size_t>(b)]] = b;
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet a;
  return a;
}

}  // namespace

char32_t byte_to_char(unsigned char byte) { return alphabet().character[byte]; }

std::string to_byte_alphabet(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (char b : bytes) unicode::append(out, byte_to_char(static_cast<unsigned char>(b)));
  return out;
}

std::optional<std::string> from_byte_alphabet(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const char32_t c = unicode::next_char(text, i);
    const int b = c < 512 ? alphabet().byte[c] : -1;
    if (b < 0) return std::nullopt;
    out += static_cast<char>(b);
  }
  return out;
}

}  // namespace r1
