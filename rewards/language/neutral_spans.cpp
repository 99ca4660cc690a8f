#include "rewards/language/neutral_spans.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include "rewards/language/neutral_tokens.h"

namespace r1 {
namespace {

constexpr std::size_t kNone = std::string_view::npos;
constexpr std::size_t kLongestArgument = 400;  // of a command outside formulas; a limit keeps nested braces linear
constexpr std::size_t kLongestTag = 200;
constexpr std::size_t kLongestName = 64;  // \end{name}

bool ascii_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
// Characters of names, numbers, paths and addresses. Commas, brackets and quotes end a word.
bool token_char(char c) {
  return ascii_letter(c) || (c >= '0' && c <= '9') || std::string_view("_./\\@:-+=~%&?#^").find(c) != kNone;
}

// The next code point; advances i. Negative for an invalid byte.
UChar32 next_code_point(std::string_view text, std::size_t& i) {
  UChar32 c = 0;
  std::int32_t used = 0;
  U8_NEXT(reinterpret_cast<const std::uint8_t*>(text.data()) + i, used,
          static_cast<std::int32_t>(std::min<std::size_t>(text.size() - i, 4)), c);
  i += static_cast<std::size_t>(used);
  return c;
}

class Blanker {
 public:
  explicit Blanker(std::string_view text) : text_(text), out_(text) { match_environments(); }

  std::string run() {
    for (std::size_t i = 0; i < text_.size();) {
      const std::size_t end = span_end(i);
      if (end != kNone) {
        blank(i, end);
        i = end;
      } else {
        i = step(i);
      }
    }
    return std::move(out_);
  }

 private:
  void blank(std::size_t begin, std::size_t end) {
    // Line ends stay: they end sentences.
    for (std::size_t i = begin; i < end; ++i) {
      if (out_[i] != '\n') out_[i] = ' ';
    }
  }

  // Pairs \begin with \end by a stack, whatever their names: one pass, where a search from each \begin would be
  // quadratic.
  void match_environments() {
    std::vector<std::size_t> open;
    for (std::size_t i = text_.find('\\'); i != kNone; i = text_.find('\\', i + 1)) {
      if (text_.substr(i).starts_with("\\begin{")) {
        open.push_back(i);
      } else if (text_.substr(i).starts_with("\\end{") && !open.empty()) {
        const std::size_t close = text_.substr(i, kLongestName).find('}');
        if (close == kNone) continue;
        environments_.push_back({open.back(), i + close + 1});
        open.pop_back();
      }
    }
    std::sort(environments_.begin(), environments_.end());
  }

  // The position after the next closer from `from` on. A closer that the text does not hold is looked for once, and
  // one whose span was prose serves no later opener: else many openers before one closer would be quadratic.
  struct Closer {
    std::string_view text;
    bool none_left = false;
    std::size_t prose_until = 0;
  };
  std::size_t after(Closer& closer, std::size_t from) {
    if (closer.none_left || from < closer.prose_until) return kNone;
    const std::size_t at = text_.find(closer.text, from);
    if (at == kNone) closer.none_left = true;
    return at == kNone ? kNone : at + closer.text.size();
  }
  std::size_t formula(Closer& closer, std::size_t i) {
    const std::size_t end = after(closer, i + 2);
    if (end == kNone || unless_prose(i, end) != kNone) return end;
    closer.prose_until = end;
    return kNone;
  }
  // A formula or code on one line that is really prose is no span.
  std::size_t unless_prose(std::size_t begin, std::size_t end) const {
    return end == kNone || reads_like_prose(text_.substr(begin, end - begin)) ? kNone : end;
  }

  std::size_t span_end(std::size_t i) {
    switch (text_[i]) {
      case '`': return code(i);
      case '$': return dollars(i);
      case '\\': return backslash(i);
      case '<': return tag(i);
      default: return kNone;
    }
  }

  std::size_t code(std::size_t i) {
    if (text_.substr(i).starts_with("```")) {
      if (i == prose_fence_close_) return i + 3;
      const std::size_t end = after(fence_, i + 3);
      if (end == kNone || !mostly_prose(text_.substr(i + 3, end - 6 - i))) return end;
      prose_fence_close_ = end - 3;
      // "```python": the word at the mark names a programming language.
      return std::min(text_.find_first_of(" \t\r\n", i), prose_fence_close_);
    }
    const std::size_t close = text_.find_first_of("`\n", i + 1);
    return close == kNone || text_[close] != '`' ? kNone : unless_prose(i, close + 1);
  }

  // More than half of the letters of a fenced block are on lines of prose: a text in a fence, or one behind comment marks.
  // Code with some comments is code.
  static bool mostly_prose(std::string_view block) {
    std::size_t letters = 0, prose = 0;
    while (!block.empty()) {
      const std::string_view line = block.substr(0, block.find('\n'));
      block.remove_prefix(std::min(line.size() + 1, block.size()));
      const auto here = static_cast<std::size_t>(
          std::count_if(line.begin(), line.end(), [](char c) { return ascii_letter(c) || (c & 0x80) != 0; }));
      letters += here;
      if (reads_like_prose(line)) prose += here;
    }
    return 2 * prose > letters;
  }

  std::size_t dollars(std::size_t i) {
    if (text_.substr(i).starts_with("$$")) return formula(display_, i);
    // "$5 and $7" are prices: a formula neither begins nor ends with a space, and no digit follows it.
    if (i + 1 >= text_.size() || space(text_[i + 1])) return kNone;
    const std::size_t close = text_.find_first_of("$\n", i + 1);
    if (close == kNone || text_[close] != '$' || space(text_[close - 1])) return kNone;
    if (close + 1 < text_.size() && text_[close + 1] >= '0' && text_[close + 1] <= '9') return kNone;
    return unless_prose(i, close + 1);
  }

  std::size_t backslash(std::size_t i) {
    if (text_.substr(i).starts_with("\\(")) return formula(round_, i);
    if (text_.substr(i).starts_with("\\[")) return formula(square_, i);
    const auto env = std::lower_bound(environments_.begin(), environments_.end(), std::pair(i, std::size_t{0}));
    if (env != environments_.end() && env->first == i && i >= prose_environments_until_) {
      if (unless_prose(i, env->second) != kNone) return env->second;
      prose_environments_until_ = env->second;
    }
    std::size_t end = i + 1;
    while (end < text_.size() && ascii_letter(text_[end])) ++end;
    if (end == i + 1) return kNone;
    while (end < text_.size() && (text_[end] == '{' || text_[end] == '[' || text_[end] == '_' || text_[end] == '^')) {
      if (text_[end] == '_' || text_[end] == '^') {
        ++end;
        continue;
      }
      const std::size_t argument = balanced(end);
      if (argument == kNone || reads_like_prose(text_.substr(end, argument - end))) break;
      end = argument;
    }
    return end;
  }

  std::size_t balanced(std::size_t open) const {
    const char up = text_[open], down = up == '{' ? '}' : ']';
    int depth = 0;
    const std::size_t limit = std::min(text_.size(), open + kLongestArgument);
    for (std::size_t i = open; i < limit; ++i) {
      if (text_[i] == up) ++depth;
      if (text_[i] == down && --depth == 0) return i + 1;
    }
    return kNone;
  }

  std::size_t tag(std::size_t i) const {
    const std::size_t name = i + (text_.substr(i).starts_with("</") ? 2 : 1);
    if (name >= text_.size() || !ascii_letter(text_[name])) return kNone;
    const std::size_t close = text_.substr(0, std::min(text_.size(), i + kLongestTag)).find_first_of("<>\n", i + 1);
    if (close == kNone || text_[close] != '>') return kNone;
    // "a <b then c> d" is a pair of comparisons: after its name a tag ends or has attributes.
    std::size_t after_name = name;
    while (ascii_letter(text_[after_name]) || (text_[after_name] >= '0' && text_[after_name] <= '9')) ++after_name;
    const std::string_view more = text_.substr(after_name, close - after_name);
    const bool plain = more.find_first_not_of(" /") == kNone;
    return plain || more.find('=') != kNone ? unless_prose(i, close + 1) : kNone;
  }

  // Takes one word or one character that is no span; returns where to go on.
  std::size_t step(std::size_t i) {
    if (token_char(text_[i])) return token(i);
    std::size_t end = i;
    const UChar32 c = next_code_point(text_, end);
    if (c < 0) {
      blank(i, end);
    } else if (c >= 0x80 && u_isalpha(c)) {
      return letters(i);
    }
    return end;
  }

  std::size_t token(std::size_t i) {
    std::size_t end = i;
    // A span inside ends the word: "x\frac12".
    while (end < text_.size() && token_char(text_[end]) && (end == i || text_[end] != '\\')) ++end;
    // A letter with a mark belongs to the same word ("naïve"): then it is a word of a language.
    if (end < text_.size() && (text_[end] & 0x80) && ascii_letter(text_[end - 1])) {
      std::size_t after_letter = end;
      const UChar32 c = next_code_point(text_, after_letter);
      if (c < 0x2000 && c >= 0x80 && (u_isalpha(c) || u_getCombiningClass(c) != 0)) return letters(end);
    }
    std::size_t first = i, last = end;
    constexpr std::string_view kAround = ".:-+=~%&?#^";
    while (first < last && kAround.find(text_[first]) != kNone && !text_.substr(first).starts_with("./")) ++first;
    while (last > first && kAround.find(text_[last - 1]) != kNone) --last;
    const bool call = last == end && end < text_.size() && text_[end] == '(';
    const std::string_view word = text_.substr(first, last - first);
    if (neutral_token(word, call)) blank(i, end);
    return end;
  }

  // A run of letters and marks outside ASCII, with ASCII letters if it is Latin: left as it is unless it is one letter
  // of an alphabet whose single letters name variables.
  std::size_t letters(std::size_t i) {
    std::size_t end = i, count = 0;
    UChar32 first = -1;
    while (end < text_.size()) {
      std::size_t next = end;
      const UChar32 c = next_code_point(text_, next);
      if (c < 0 || !(u_isalpha(c) || u_getCombiningClass(c) != 0)) break;
      if (first < 0) first = c;
      // "GPU" in a run of Han is a word of its own; in "été" the t belongs to it.
      if (c < 0x80 && first >= 0x370 && !(first >= 0x1E00 && first < 0x1F00)) break;
      ++count;
      end = next;
    }
    const bool alphabet = first >= 0x370 && first <= 0x52F;  // Greek, Cyrillic
    const bool alone = i == 0 || !ascii_letter(text_[i - 1]);
    if (count == 1 && alphabet && alone) blank(i, end);
    return std::max(end, i + 1);
  }

  std::string_view text_;
  std::string out_;
  std::vector<std::pair<std::size_t, std::size_t>> environments_;  // (begin, end), sorted
  std::size_t prose_environments_until_ = 0;
  std::size_t prose_fence_close_ = kNone;  // the mark that ends the fenced text being read
  Closer fence_{"```"}, display_{"$$"}, round_{"\\)"}, square_{"\\]"};
};

}  // namespace

bool reads_like_prose(std::string_view utf8) {
  constexpr int kWords = 6, kUnspacedLetters = 12;
  int words = 0, letters = 0, unspaced = 0;
  const auto end_word = [&] {
    if (letters >= 2) ++words;
    else if (letters == 1) words = 0;
    letters = 0;
  };
  for (std::size_t i = 0; i < utf8.size();) {
    const UChar32 c = next_code_point(utf8, i);
    if (c >= 0 && u_isalpha(c)) {
      ++letters;
      unspaced = c >= 0x0E00 && !(c >= 0x1E00 && c < 0x2000) ? unspaced + 1 : 0;  // Thai and later, but Latin extended
      if (unspaced >= kUnspacedLetters) return true;
    } else {
      end_word();
      if (words >= kWords) return true;
      if (c != ' ') words = 0;
      if (c != ' ' && c < 0x300) unspaced = 0;
    }
  }
  end_word();
  return words >= kWords;
}

std::string blank_neutral(std::string_view text) { return Blanker(text).run(); }

}  // namespace r1
