// Patterns that cut a text: regular expressions as the `tokenizers` package reads them (Oniguruma, Ruby syntax), and
// literals.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace r1 {

struct TextRange {  // bytes [begin, end) of a text
  std::size_t begin, end;
};

// Immutable and thread-safe.
class Pattern {
 public:
  virtual ~Pattern() = default;
  // Appends the matches from left to right, not overlapping. The text must be valid UTF-8.
  virtual void find_all(std::string_view text, std::vector<TextRange>& out) const = 0;
};

// Hand-written scanners for the patterns of GPT-2, Llama 3, Qwen 2 and DeepSeek-V3 (10-20 times as fast), else PCRE2.
// Throws DataError for syntax that is not translated.
std::unique_ptr<Pattern> make_regex(std::string_view oniguruma);
// Always PCRE2.
std::unique_ptr<Pattern> make_pcre2(std::string_view oniguruma);
// The scanner for this very pattern text; null if there is none.
std::unique_ptr<Pattern> make_scanner(std::string_view oniguruma);
// A non-empty literal.
std::unique_ptr<Pattern> make_literal(std::string literal);

// The pattern that ByteLevel's use_regex stands for.
extern const char* const kGpt2Pattern;

// Rewrites an Oniguruma pattern for PCRE2: every class becomes explicit ranges of the tables in text/unicode.h, so that
// neither library's Unicode version matters. Throws DataError for what it does not know.
std::string oniguruma_to_pcre2(std::string_view pattern);

}  // namespace r1
