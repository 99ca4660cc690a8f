// The hand-written scanners against PCRE2 on random text; translation of patterns and its refusals.
#include <doctest/doctest.h>

#include "core/error.h"
#include "core/rng.h"
#include "text/pattern.h"
#include "text/unicode.h"

namespace {

const char* const kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const char* const kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const char* const kDeepSeek =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// Pieces that meet each other in every order: contractions, spaces of all kinds, marks, digits, signs, letters.
std::string random_text(r1::StreamRng& rng) {
  static const char* const parts[] = {"'s",
                                      "'S",
                                      "'ſ",
                                      "'ll",
                                      "'lL",
                                      "'re",
                                      "'Ve",
                                      "'d",
                                      "'m",
                                      "'t",
                                      "'",
                                      "'K",
                                      "a",
                                      "Zb",
                                      "é",
                                      "你好",
                                      "ひら",
                                      "カー",
                                      "ß",
                                      "ŉ",
                                      "ǅ",
                                      "0",
                                      "12",
                                      "4567",
                                      "½",
                                      "٣",
                                      "Ⅷ",
                                      " ",
                                      "  ",
                                      "\n",
                                      "\r\n",
                                      "\t",
                                      "\v",
                                      "\f",
                                      "\xC2\x85",
                                      "\xC2\xA0",
                                      "\xE1\xA0\x8E",
                                      "\xE2\x80\x83",
                                      "\xE2\x80\xA8",
                                      "\xE3\x80\x80",
                                      "\xEF\xBB\xBF",
                                      ".",
                                      ",",
                                      "!?",
                                      "$",
                                      "+=",
                                      "…",
                                      "。",
                                      "(",
                                      "_",
                                      "~",
                                      "^",
                                      "`",
                                      "😀",
                                      "\xCC\x81",
                                      "\xE2\x80\x8D",
                                      "\xEF\xB8\x8F",
                                      "\x01",
                                      "\x1C",
                                      "\x7F",
                                      "\xCD\xB8",
                                      "\xF0\x90\xB5\x90",
                                      "\xF0\xB2\x8E\xB0",
                                      "龥",
                                      "龦",
                                      "゠",
                                      "〿"};
  std::string out;
  for (std::uint64_t n = rng.below(14); n > 0; --n) {
    if (rng.below(5) > 0) {
      out += parts[rng.below(std::size(parts))];
    } else {
      char32_t c = static_cast<char32_t>(rng.below(rng.below(2) ? 0x3000 : 0x110000));
      if (c >= 0xD800 && c < 0xE000) c = 'x';
      r1::unicode::append(out, c);
    }
  }
  return out;
}

std::vector<std::string> matches(const r1::Pattern& pattern, std::string_view text) {
  std::vector<r1::TextRange> ranges;
  pattern.find_all(text, ranges);
  std::vector<std::string> out;
  for (const auto& r : ranges)
    out.push_back(std::to_string(r.begin) + ":" + std::string(text.substr(r.begin, r.end - r.begin)));
  return out;
}

std::string refusal(const std::string& pattern) {
  try {
    r1::make_regex(pattern);
    return "accepted";
  } catch (const r1::DataError& e) {
    return e.what();
  }
}

}  // namespace

TEST_CASE("the scanners match exactly what their patterns match") {
  for (const char* pattern : {r1::kGpt2Pattern, kLlama3, kQwen2, kDeepSeek, R"(\p{N}{1,3})", "[一-龥぀-ゟ゠-ヿ]+"}) {
    CAPTURE(pattern);
    const auto scanner = r1::make_scanner(pattern);
    const auto pcre2 = r1::make_pcre2(pattern);
    REQUIRE(scanner);
    r1::StreamRng rng(7, 1);
    int differences = 0;
    for (int i = 0; i < 4000 && differences < 3; ++i) {
      const std::string text = random_text(rng);
      const auto got = matches(*scanner, text), expected = matches(*pcre2, text);
      if (got != expected) ++differences;
      CAPTURE(text);
      CHECK(got == expected);
    }
  }
}

TEST_CASE("a pattern with the newline itself is the same pattern") {
  std::string pattern = kDeepSeek;
  for (std::size_t at; (at = pattern.find("\\r\\n")) != std::string::npos;) pattern.replace(at, 4, "\r\n");
  CHECK(r1::make_scanner(pattern));
  CHECK_FALSE(r1::make_scanner(std::string(kLlama3) + "|x"));
}

TEST_CASE("literals") {
  CHECK(matches(*r1::make_literal("aa"), "aaaxaa") == std::vector<std::string>{"0:aa", "4:aa"});
  CHECK_THROWS_AS(r1::make_literal(""), r1::DataError);
}

TEST_CASE("empty matches do not stop the search") {
  CHECK(matches(*r1::make_regex("x*"), "axé") == std::vector<std::string>{"0:", "1:x", "4:"});
}

TEST_CASE("long texts neither overflow a stack nor take for ever") {
  const auto llama = r1::make_pcre2(kLlama3);
  const std::string spaces(300'000, ' ');
  CHECK(matches(*llama, spaces).size() == 1);
  CHECK(matches(*r1::make_pcre2(R"((?:a|b)+)"), std::string(300'000, 'a')).size() == 1);
  CHECK(matches(*r1::make_scanner(kLlama3), spaces).size() == 1);
}

TEST_CASE("what is not translated is refused by name") {
  for (const char* pattern : {"(?P<name>a)", "(a)\\1", "(?-i:a)", "\\p{Klingon}", "a{2", "[[:alpha:]]", "(?i)straße",
                              "(?i:ss)", "\\X", "(?m:.)", "\\x80", "(a", "a)", "*a", "[a", "a\\"}) {
    CAPTURE(pattern);
    const std::string why = refusal(pattern);
    if (std::string(pattern) == "a{2") CHECK(why == "accepted");  // a literal brace
    else CHECK(why.find("regex") != std::string::npos);
  }
}
