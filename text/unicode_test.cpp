#include <doctest/doctest.h>

#include "text/byte_alphabet.h"
#include "text/unicode.h"

namespace unicode = r1::unicode;

TEST_CASE("invalid UTF-8 becomes U+FFFD, one for each maximal part") {
  const std::string bad = "\xEF\xBF\xBD";
  CHECK(unicode::repair("abc") == "abc");
  CHECK(unicode::repair("é你😀") == "é你😀");
  CHECK(unicode::repair("\xFF") == bad);
  CHECK(unicode::repair("a\x80z") == "a" + bad + "z");
  CHECK(unicode::repair("\xE4\xBDz") == bad + "z");             // a cut character is one part
  CHECK(unicode::repair("\xF0\x9F\x98") == bad);
  CHECK(unicode::repair("\xC0\xAF") == bad + bad);              // overlong
  CHECK(unicode::repair("\xE0\x80\x80") == bad + bad + bad);
  CHECK(unicode::repair("\xED\xA0\x80") == bad + bad + bad);    // a surrogate
  CHECK(unicode::repair("\xF4\x90\x80\x80") == bad + bad + bad + bad);
  CHECK(unicode::is_valid("é你😀"));
  CHECK_FALSE(unicode::is_valid("\xED\xA0\x80"));
  CHECK_FALSE(unicode::is_valid("ascii first \xE4\xBD"));
}

TEST_CASE("a prefix is cut only where more bytes can complete a character") {
  CHECK(unicode::complete_prefix("abc") == 3);
  CHECK(unicode::complete_prefix("") == 0);
  CHECK(unicode::complete_prefix("ab\xE4") == 2);
  CHECK(unicode::complete_prefix("ab\xE4\xBD") == 2);
  CHECK(unicode::complete_prefix("ab\xE4\xBD\xA0") == 5);
  CHECK(unicode::complete_prefix("\xF0\x9F\x98") == 0);
  CHECK(unicode::complete_prefix("a\x80") == 2);      // nothing can repair it
  CHECK(unicode::complete_prefix("\xE0\x80") == 2);
  CHECK(unicode::complete_prefix("\x80\x80\x80\x80") == 4);
}

TEST_CASE("tables: categories of Oniguruma, digits and case of Rust") {
  const auto& t = unicode::Tables::get();
  CHECK(t.category('A') == unicode::Lu);
  CHECK(t.category(0x101) == unicode::Ll);
  CHECK(t.category(0x100) == unicode::Lu);
  CHECK(t.category(0x4E00) == unicode::Lo);
  CHECK(t.category(0x1F600) == unicode::So);
  CHECK(t.category(0x378) == unicode::Cn);
  CHECK(t.category(0xD800) == unicode::Cs);
  CHECK(t.category(0x10D50) == unicode::Lu);   // Unicode 16
  CHECK(t.category(0x323B0) == unicode::Cn);   // Unicode 17: not known to Oniguruma yet
  CHECK((t.classes(0x11DE0) & unicode::kNumeric) != 0);  // but to Rust
  CHECK((t.classes(0x11DE0) & unicode::kNumber) == 0);
  CHECK(unicode::is_space(0x85));
  CHECK_FALSE(unicode::is_space(0x180E));
  CHECK_FALSE(unicode::is_space(0x1C));
  CHECK(unicode::lower("ÀÉΣİẞǅ\xF0\x90\xB5\x90" "Az") == "àéσi̇ßǆ\xF0\x90\xB5\xB0" "az");
}

TEST_CASE("trimming") {
  CHECK(unicode::trim_left("\xE3\x80\x80 a ") == 4);
  CHECK(unicode::trim_right(" a\xC2\xA0\n") == 2);
  CHECK(unicode::trim_right(" \n") == 0);
  CHECK(unicode::trim_left(" \n") == 2);
}

TEST_CASE("the byte alphabet is a bijection") {
  std::string all;
  for (int b = 0; b < 256; ++b) all += static_cast<char>(b);
  const std::string text = r1::to_byte_alphabet(all);
  CHECK(unicode::is_valid(text));
  CHECK(r1::from_byte_alphabet(text) == all);
  CHECK(r1::to_byte_alphabet(" \n") == "ĠĊ");
  CHECK_FALSE(r1::from_byte_alphabet("你").has_value());
  CHECK_FALSE(r1::from_byte_alphabet(" ").has_value());
}
