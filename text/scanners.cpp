// The well-known pre-tokenizer patterns by hand. Each function below follows its pattern alternative by alternative;
// text_test and the golden test compare them with PCRE2 on random text.
#include <cstring>

#include "text/pattern.h"
#include "text/unicode.h"

namespace r1 {

const char* const kGpt2Pattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

namespace {

using unicode::kLetter;
using unicode::kMark;
using unicode::kNumber;
using unicode::kPunctuation;
using unicode::kSpace;
using unicode::kSymbol;

// A position in a text together with the class of the character there; past the end the class is 0 and size() is 0.
class Cursor {
 public:
  Cursor(std::string_view text, std::size_t pos) : text_(text), pos_(pos) { load(); }
  std::size_t pos() const { return pos_; }
  bool end() const { return pos_ >= text_.size(); }
  char32_t code() const { return code_; }
  bool is(std::uint8_t bits) const { return classes_ & bits; }
  bool other_than(std::uint8_t bits) const { return !end() && !(classes_ & bits); }
  bool newline() const { return code_ == '\n' || code_ == '\r'; }
  void step() {
    pos_ = next_;
    load();
  }
  void run(std::uint8_t bits) {
    while (classes_ & bits) step();
  }

 private:
  void load() {
    if (pos_ >= text_.size()) {
      code_ = 0xFFFFFFFF, classes_ = 0, next_ = pos_;
      return;
    }
    next_ = pos_;
    code_ = unicode::next_char(text_, next_);
    classes_ = tables_->classes(code_);
  }
  const unicode::Tables* tables_ = &unicode::Tables::get();
  std::string_view text_;
  std::size_t pos_, next_ = 0;
  char32_t code_ = 0;
  std::uint8_t classes_ = 0;
};

// \s+(?!\S)|\s+ where a run of white space starts: all of it at the end of the text, else all but its last character,
// unless that is the only one.
std::size_t spaces(std::string_view text, std::size_t begin, std::size_t end) {
  if (end == text.size()) return end;
  const std::size_t last = unicode::previous_start(text, end);
  return last > begin ? last : end;
}

// \s*[\r\n]+|\s+(?!\S)|\s+
std::size_t lines_or_spaces(std::string_view text, Cursor c) {
  const std::size_t begin = c.pos();
  std::size_t after_newline = 0;
  while (c.is(kSpace)) {
    const bool newline = c.newline();
    c.step();
    if (newline) after_newline = c.pos();
  }
  return after_newline ? after_newline : spaces(text, begin, c.pos());
}

// Bytes behind the apostrophe that make a contraction, or 0.
std::size_t contraction(std::string_view rest, bool caseless) {
  const auto at = [&](std::size_t i) {
    const char c = i < rest.size() ? rest[i] : '\0';
    return caseless && c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  };
  switch (at(0)) {
    case 's': case 't': case 'm': case 'd': return 1;
    case 'r': case 'v': return at(1) == 'e' ? 2 : 0;
    case 'l': return at(1) == 'l' ? 2 : 0;
    default: return caseless && rest.starts_with("\xC5\xBF") ? 2 : 0;  // the long s folds to s
  }
}

std::size_t gpt2(std::string_view text, std::size_t pos) {
  Cursor c(text, pos);
  if (c.code() == '\'') {
    if (const std::size_t n = contraction(text.substr(pos + 1), false)) return pos + 1 + n;
  }
  Cursor start = c;
  if (c.code() == ' ') c.step();
  for (const std::uint8_t kind : {kLetter, kNumber}) {
    if (c.is(kind)) return c.run(kind), c.pos();
  }
  if (c.other_than(kSpace)) {
    while (c.other_than(kSpace | kLetter | kNumber)) c.step();
    return c.pos();
  }
  c = start;
  c.run(kSpace);
  return spaces(text, pos, c.pos());
}

// Llama 3 and Qwen 2, which differ in how many digits stay together.
template <int kDigits>
std::size_t llama3(std::string_view text, std::size_t pos) {
  Cursor c(text, pos);
  if (c.code() == '\'') {
    if (const std::size_t n = contraction(text.substr(pos + 1), true)) return pos + 1 + n;
  }
  if (c.is(kLetter)) return c.run(kLetter), c.pos();
  if (c.is(kNumber)) {
    for (int i = 0; i < kDigits && c.is(kNumber); ++i) c.step();
    return c.pos();
  }
  Cursor after = c;
  after.step();
  if (!c.newline() && after.is(kLetter)) return after.run(kLetter), after.pos();
  Cursor word = c.code() == ' ' ? after : c;
  if (word.other_than(kSpace | kLetter | kNumber)) {
    while (word.other_than(kSpace | kLetter | kNumber)) word.step();
    while (word.newline()) word.step();
    return word.pos();
  }
  return lines_or_spaces(text, c);
}

// The third pattern of DeepSeek-V3. It leaves gaps: pos is returned where nothing matches.
std::size_t deepseek(std::string_view text, std::size_t pos) {
  const auto latin = [](char32_t c) { return (c | 32) >= 'a' && (c | 32) <= 'z' && c < 128; };
  Cursor c(text, pos), after = c;
  after.step();
  if (c.code() < 128 && c.is(kPunctuation | kSymbol) && latin(after.code())) {
    while (latin(after.code())) after.step();
    return after.pos();
  }
  if (c.is(kLetter | kMark)) return c.run(kLetter | kMark), c.pos();
  if (!c.newline() && !c.is(kPunctuation | kSymbol) && after.is(kLetter | kMark)) {
    return after.run(kLetter | kMark), after.pos();
  }
  Cursor word = c.code() == ' ' ? after : c;
  if (word.is(kPunctuation | kSymbol)) {
    word.run(kPunctuation | kSymbol);
    while (word.newline()) word.step();
    return word.pos();
  }
  return c.is(kSpace) ? lines_or_spaces(text, c) : pos;
}

std::size_t three_digits(std::string_view text, std::size_t pos) {
  Cursor c(text, pos);
  for (int i = 0; i < 3 && c.is(kNumber); ++i) c.step();
  return c.pos();
}

std::size_t cjk(std::string_view text, std::size_t pos) {
  Cursor c(text, pos);
  while ((c.code() >= 0x4E00 && c.code() <= 0x9FA5) || (c.code() >= 0x3040 && c.code() <= 0x30FF)) c.step();
  return c.pos();
}

template <std::size_t (*kMatch)(std::string_view, std::size_t)>
class Scanner final : public Pattern {
 public:
  void find_all(std::string_view text, std::vector<TextRange>& out) const override {
    for (std::size_t pos = 0; pos < text.size();) {
      const std::size_t end = kMatch(text, pos);
      if (end > pos) {
        out.push_back({pos, end});
        pos = end;
      } else {
        unicode::next_char(text, pos);
      }
    }
  }
};

}  // namespace

std::unique_ptr<Pattern> make_scanner(std::string_view pattern) {
  // The released files write the newline of a class as an escape or as the character itself.
  std::string key;
  for (char c : pattern) {
    if (c == '\n') key += "\\n";
    else if (c == '\r') key += "\\r";
    else key += c;
  }
  const std::string llama =
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  std::string qwen = llama;
  qwen.replace(qwen.find("{1,3}"), 5, "");
  if (key == kGpt2Pattern) return std::make_unique<Scanner<gpt2>>();
  if (key == llama) return std::make_unique<Scanner<llama3<3>>>();
  if (key == qwen) return std::make_unique<Scanner<llama3<1>>>();
  if (key == R"(\p{N}{1,3})") return std::make_unique<Scanner<three_digits>>();
  if (key == "[一-龥぀-ゟ゠-ヿ]+") return std::make_unique<Scanner<cjk>>();
  if (key ==
      R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)") {
    return std::make_unique<Scanner<deepseek>>();
  }
  return nullptr;
}

}  // namespace r1
