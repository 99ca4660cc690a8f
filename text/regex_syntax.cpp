// Oniguruma (Ruby syntax) to PCRE2. Differences that matter: \s \w \d \p{..} of other Unicode versions, `{n,m}+` is a
// repeated repetition and not possessive, ^ and $ work at every line, \h is a hexadecimal digit, (?m) means "dot takes
// newlines", classes know && and nesting, and caseless matching folds pairs of letters such as "ss" to one.
#include <cctype>
#include <string>

#include "core/error.h"
#include "text/code_set.h"
#include "text/pattern.h"
#include "text/unicode.h"

namespace r1 {
namespace {

class Translator {
 public:
  explicit Translator(std::string_view pattern) : source_(pattern) {}

  std::string run() {
    std::string out = alternatives(false);
    if (!done()) fail("unmatched )");
    return out;
  }

 private:
  struct Atom {
    std::string text;
    bool may_repeat = true;
  };

  [[noreturn]] void fail(const std::string& why) const {
    throw DataError(message("regex \"", source_, "\", offset ", pos_, ": ", why));
  }
  bool done() const { return pos_ >= source_.size(); }
  bool starts(std::string_view s) const { return source_.substr(pos_).starts_with(s); }
  bool take(std::string_view s) {
    if (!starts(s)) return false;
    pos_ += s.size();
    return true;
  }
  char32_t next() {
    if (done()) fail("pattern ends too early");
    return unicode::next_char(source_, pos_);
  }

  std::string alternatives(bool caseless) {
    std::string out = sequence(caseless);
    while (take("|")) out += "|" + sequence(caseless);
    return out;
  }

  std::string sequence(bool caseless) {
    std::string out;
    char previous_letter = 0;  // of a caseless literal, to notice pairs that fold together
    while (!done() && !starts("|") && !starts(")")) {
      if (take("(?i)")) {  // to the end of the group, alternatives included
        if (caseless) continue;
        return out + "(?i:" + alternatives(true) + ")";
      }
      if (starts("(?#") || starts("(?-") || starts("(?x") || starts("(?m") || starts("(?<") || starts("(?~") ||
          starts("(?(") || starts("(?y") || starts("(?W") || starts("(?D") || starts("(?S") || starts("(?P")) {
        if (!starts("(?<=") && !starts("(?<!")) fail("this kind of group is not implemented");
      }
      const std::size_t at = pos_;
      Atom a = atom(caseless);
      char letter = 0;
      if (pos_ == at + 1 && std::isalpha(static_cast<unsigned char>(source_[at])))
        letter = static_cast<char>(source_[at] | 32);
      if (caseless && letter && previous_letter) check_fold(previous_letter, letter);
      previous_letter = letter;
      out += quantified(std::move(a));
    }
    return out;
  }

  // Caseless Oniguruma also matches one character for these pairs; PCRE2 does not.
  void check_fold(char a, char b) const {
    for (const char* pair : {"ff", "fi", "fl", "ss", "st"}) {
      if (a == pair[0] && b == pair[1])
        fail(message("caseless \"", a, b, "\" is not implemented (it folds to one character)"));
    }
  }

  std::string quantified(Atom a) {
    while (!done()) {
      std::string q;
      bool counted = false;
      if (starts("*") || starts("+") || starts("?")) {
        q = std::string(1, source_[pos_++]);
      } else if (starts("{") && braces(q)) {
        counted = true;
      } else {
        break;
      }
      if (!a.may_repeat) fail("a quantifier has nothing to repeat");
      const bool fixed = counted && q.find(',') == std::string::npos;
      if (starts("?") && !fixed) {
        q += "?", ++pos_;
      } else if (starts("+") && !counted) {
        q += "+", ++pos_;
      }
      a.text = "(?:" + a.text + q + ")";
    }
    return a.text;
  }

  // {n}, {n,}, {n,m}, {,m}; anything else is a literal brace.
  bool braces(std::string& q) {
    std::size_t p = pos_ + 1;
    const auto number = [&] {
      std::string digits;
      while (p < source_.size() && std::isdigit(static_cast<unsigned char>(source_[p]))) digits += source_[p++];
      return digits;
    };
    std::string low = number(), high;
    const bool comma = p < source_.size() && source_[p] == ',';
    if (comma) ++p, high = number();
    if (p >= source_.size() || source_[p] != '}' || (low.empty() && high.empty())) return false;
    pos_ = p + 1;
    q = "{" + (low.empty() ? "0" : low) + (comma ? "," + high : "") + "}";
    return true;
  }

  Atom atom(bool caseless) {
    if (take("(")) {
      std::string open = "(?:";
      bool inner = caseless;
      if (take("?i:")) {
        open = "(?i:", inner = true;
      } else if (take("?")) {
        open = "(?";
        for (const char* kind : {":", "=", "!", ">", "<=", "<!"}) {
          if (take(kind)) {
            open += kind;
            break;
          }
        }
        if (open == "(?") fail("this kind of group is not implemented");
      }
      std::string body = alternatives(inner);
      if (!take(")")) fail("missing )");
      return {open + body + ")"};
    }
    if (take("[")) return {char_class(caseless).to_pcre2(caseless)};
    if (take(".")) return {CodeSet({{'\n', '\n'}}).complement().to_pcre2(false)};
    if (take("^")) return {"(?m:^)", false};
    if (take("$")) return {"(?m:$)", false};
    if (take("\\")) return escape(caseless);
    if (starts("*") || starts("+") || starts("?")) fail("a quantifier has nothing to repeat");
    const char32_t c = next();
    if (caseless && c >= 0x80) fail("caseless characters beyond ASCII are not implemented");
    return {literal(c)};
  }

  static std::string literal(char32_t c) {
    if (c < 0x80 && !std::isalnum(static_cast<int>(c))) {
      char text[12];
      std::snprintf(text, sizeof text, "\\x{%x}", static_cast<unsigned>(c));
      return text;
    }
    std::string out;
    unicode::append(out, c);
    return out;
  }

  Atom escape(bool caseless) {
    CodeSet set;
    if (class_escape(set)) return {set.to_pcre2(caseless)};
    if (take("b") || take("B")) {
      const std::string w = CodeSet::word().to_pcre2(false);
      const std::string edge = "(?(?<=" + w + ")(?!" + w + ")|(?=" + w + "))";
      return {source_[pos_ - 1] == 'b' ? edge : "(?!" + edge + ")", false};
    }
    for (const char* anchor : {"A", "z", "Z"}) {
      if (take(anchor)) return {std::string("\\") + anchor, false};
    }
    return {literal(char_escape())};
  }

  // \s and its like; the backslash is read already.
  bool class_escape(CodeSet& set) {
    if (done()) fail("pattern ends with a backslash");
    const char c = source_[pos_];
    switch (c) {
      case 's': set = CodeSet::white_space(); break;
      case 'S': set = CodeSet::white_space().complement(); break;
      case 'd': set = CodeSet::property("Nd"); break;
      case 'D': set = CodeSet::property("Nd").complement(); break;
      case 'w': set = CodeSet::word(); break;
      case 'W': set = CodeSet::word().complement(); break;
      case 'h': set = CodeSet({{'0', '9'}, {'a', 'f'}, {'A', 'F'}}); break;
      case 'H': set = CodeSet({{'0', '9'}, {'a', 'f'}, {'A', 'F'}}).complement(); break;
      case 'p':
      case 'P': {
        const std::size_t close = source_.find('}', pos_);
        if (source_.substr(pos_ + 1, 1) != "{" || close == std::string_view::npos) fail("\\p needs {name}");
        std::string name(source_.substr(pos_ + 2, close - pos_ - 2));
        bool negate = c == 'P';
        if (name.starts_with('^')) negate = !negate, name.erase(0, 1);
        set = CodeSet::property(name);
        if (negate) set = set.complement();
        pos_ = close;
        break;
      }
      default: return false;
    }
    ++pos_;
    return true;
  }

  char32_t hex(std::size_t most, bool braced) {
    std::string digits;
    while (!done() && digits.size() < most && std::isxdigit(static_cast<unsigned char>(source_[pos_])))
      digits += source_[pos_++];
    if (digits.empty() || (braced && !take("}"))) fail("bad hexadecimal escape");
    const unsigned long value = std::stoul(digits, nullptr, 16);
    if (value > 0x10FFFF) fail("code point out of range");
    return static_cast<char32_t>(value);
  }

  char32_t char_escape() {
    if (take("x{")) return hex(8, true);
    if (take("x")) {
      const char32_t c = hex(2, false);
      if (c >= 0x80) fail("\\x80 and above are bytes, not characters: not implemented");
      return c;
    }
    if (take("u")) return hex(4, false);
    const char32_t c = next();
    switch (c) {
      case 'n': return '\n';
      case 't': return '\t';
      case 'r': return '\r';
      case 'f': return '\f';
      case 'v': return '\v';
      case 'a': return '\a';
      case 'e': return 27;
      default: break;
    }
    if (c < 0x80 && std::isalnum(static_cast<int>(c)))
      fail(message("escape \\", static_cast<char>(c), " is not implemented"));
    return c;
  }

  // Behind the opening bracket.
  CodeSet char_class(bool caseless) {
    const bool negate = take("^");
    CodeSet total({{0, 0x10FFFF}}), set;
    bool first = true;
    while (true) {
      if (done()) fail("missing ]");
      if (starts("]") && !first) break;
      first = false;
      if (take("&&")) {
        total = total.intersect(set);
        set = CodeSet();
        continue;
      }
      if (starts("[:")) fail("POSIX brackets are not implemented");
      if (take("[")) {
        set.add(char_class(caseless));
        continue;
      }
      char32_t low;
      if (take("\\")) {
        CodeSet named;
        if (class_escape(named)) {
          set.add(named);
          continue;
        }
        low = take("b") ? 8 : char_escape();
      } else {
        low = next();
      }
      char32_t high = low;
      if (starts("-") && source_.substr(pos_ + 1, 1) != "]") {
        take("-");
        if (starts("[")) fail("a range ends with a class");
        if (take("\\")) {
          CodeSet named;
          if (class_escape(named)) fail("a range ends with a class");
          high = char_escape();
        } else {
          high = next();
        }
        if (high < low) fail("empty range");
      }
      set.add(CodeSet({{static_cast<std::uint32_t>(low), static_cast<std::uint32_t>(high)}}));
    }
    take("]");
    total = total.intersect(set);
    return negate ? total.complement() : total;
  }

  std::string_view source_;
  std::size_t pos_ = 0;
};

}  // namespace

std::string oniguruma_to_pcre2(std::string_view pattern) {
  if (!unicode::is_valid(pattern)) throw DataError("a regex is not valid UTF-8");
  return Translator(pattern).run();
}

}  // namespace r1
