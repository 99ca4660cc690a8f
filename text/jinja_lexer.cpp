#include "text/jinja_lexer.h"

#include <cctype>

#include "core/error.h"
#include "text/unicode.h"

namespace r1::jinja {
namespace {

using Kind = Token::Kind;

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  std::vector<Token> run() {
    while (pos_ < source_.size()) text_part();
    add(Kind::kEnd, "", source_.size());
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(std::size_t at, const std::string& why) const {
    throw DataError(message("chat template, ", position(source_, at), ": ", why));
  }
  void add(Kind kind, std::string text, std::size_t at) { tokens_.push_back({kind, std::move(text), at}); }
  bool at(std::size_t pos, std::string_view s) const {
    return source_.substr(std::min(pos, source_.size())).starts_with(s);
  }

  void skip_space() {
    pos_ += unicode::trim_left(source_.substr(pos_));
  }

  // Text up to the next tag, then the tag.
  void text_part() {
    const std::size_t begin = pos_;
    std::size_t tag = begin;
    while (true) {
      tag = source_.find('{', tag);
      if (tag == std::string_view::npos || at(tag, "{{") || at(tag, "{%") || at(tag, "{#")) break;
      ++tag;
    }
    std::string_view text = source_.substr(begin, tag == std::string_view::npos ? tag : tag - begin);
    if (tag == std::string_view::npos) {
      add_text(text, begin);
      pos_ = source_.size();
      return;
    }
    const char kind = source_[tag + 1];
    pos_ = tag + 2;
    const char sign = pos_ < source_.size() ? source_[pos_] : '\0';
    if (sign == '-' || sign == '+') ++pos_;
    text = text.substr(0, kept(text, sign, kind));
    add_text(text, begin);
    if (kind == '#') return comment(tag);
    if (kind == '{') {
      add(Kind::kVariableBegin, "", tag);
      return expression(tag, "}}");
    }
    if (raw(tag)) return;
    add(Kind::kBlockBegin, "", tag);
    expression(tag, "%}");
  }

  void add_text(std::string_view text, std::size_t at) {
    if (!text.empty()) add(Kind::kText, std::string(text), at);
  }

  // How much of the text before a tag stays: "-" takes all white space; without a sign, a block or comment that only
  // blanks precede on its line takes those.
  std::size_t kept(std::string_view text, char sign, char kind) const {
    if (sign == '-') return unicode::trim_right(text);
    if (sign == '+' || kind == '{') return text.size();
    const std::size_t newline = text.rfind('\n');
    const std::size_t line = newline == std::string_view::npos ? 0 : newline + 1;
    if (line == 0 && !line_starts_) return text.size();
    return unicode::trim_left(text.substr(line)) == text.size() - line ? line : text.size();
  }

  // Behind a tag: "-" takes white space; a block or comment takes one newline, unless it ends with "+".
  void after_tag(char sign, bool trims_newline) {
    if (sign == '-') {
      skip_space();
    } else if (sign != '+' && trims_newline && at(pos_, "\n")) {
      ++pos_;
    }
    line_starts_ = pos_ > 0 && source_[pos_ - 1] == '\n';
  }

  void comment(std::size_t tag) {
    const std::size_t end = source_.find("#}", pos_);
    if (end == std::string_view::npos) fail(tag, "a comment has no end");
    const char sign = end > pos_ ? source_[end - 1] : '\0';
    pos_ = end + 2;
    after_tag(sign, true);
  }

  bool raw(std::size_t tag) {
    const std::size_t begin = pos_;
    skip_space();
    if (!word("raw")) return pos_ = begin, false;
    skip_space();
    char sign = sign_here();
    if (!at(pos_, "%}")) return pos_ = begin, false;
    pos_ += 2;
    if (sign == '-') skip_space();  // jinja2 trims no newline here
    const std::size_t from = pos_;
    for (std::size_t end = source_.find("{%", pos_); end != std::string_view::npos; end = source_.find("{%", end + 2)) {
      pos_ = end + 2;
      const char open = sign_here();
      skip_space();
      if (!word("endraw")) continue;
      skip_space();
      sign = sign_here();
      if (!at(pos_, "%}")) continue;
      pos_ += 2;
      const std::string_view text = source_.substr(from, end - from);
      line_starts_ = from > 0 && source_[from - 1] == '\n';
      add_text(text.substr(0, kept(text, open, '%')), from);
      after_tag(sign, true);
      return true;
    }
    fail(tag, "{% raw %} has no {% endraw %}");
  }

  char sign_here() {
    if (at(pos_, "-") || at(pos_, "+")) return source_[pos_++];
    return '\0';
  }
  bool word(std::string_view w) {
    if (!at(pos_, w) ||
        (pos_ + w.size() < source_.size() &&
         (std::isalnum(static_cast<unsigned char>(source_[pos_ + w.size()])) || source_[pos_ + w.size()] == '_')))
      return false;
    pos_ += w.size();
    return true;
  }

  void expression(std::size_t tag, std::string_view close) {
    std::string brackets;
    while (true) {
      skip_space();
      if (pos_ >= source_.size()) fail(tag, message("the tag has no \"", close, "\""));
      if (brackets.empty()) {
        const bool signed_end = at(pos_ + 1, close) && (at(pos_, "-") || (at(pos_, "+") && close == "%}"));
        if (signed_end || at(pos_, close)) {
          const char sign = signed_end ? source_[pos_] : '\0';
          add(close == "}}" ? Kind::kVariableEnd : Kind::kBlockEnd, "", pos_);
          pos_ += signed_end ? 3 : 2;
          return after_tag(sign, close == "%}");
        }
      }
      one_token(brackets);
    }
  }

  void one_token(std::string& brackets) {
    const std::size_t begin = pos_;
    const auto c = static_cast<unsigned char>(source_[pos_]);
    if (std::isdigit(c)) return number();
    if (std::isalpha(c) || c == '_' || c >= 0x80) {
      while (pos_ < source_.size() && (std::isalnum(static_cast<unsigned char>(source_[pos_])) ||
                                       source_[pos_] == '_' || static_cast<unsigned char>(source_[pos_]) >= 0x80))
        ++pos_;
      return add(Kind::kName, std::string(source_.substr(begin, pos_ - begin)), begin);
    }
    if (c == '\'' || c == '"') return string_token(static_cast<char>(c));
    for (const char* op : {"//", "**", "==", "!=", ">=", "<="}) {
      if (at(pos_, op)) return pos_ += 2, add(Kind::kOperator, op, begin);
    }
    if (std::string_view("+-*/%~()[]{}<>=.:|,;").find(static_cast<char>(c)) == std::string_view::npos) {
      fail(begin, message("unexpected character '", static_cast<char>(c), "'"));
    }
    if (c == '(' || c == '[' || c == '{') brackets += c == '(' ? ')' : c == '[' ? ']' : '}';
    if (c == ')' || c == ']' || c == '}') {
      if (brackets.empty() || brackets.back() != static_cast<char>(c))
        fail(begin, message("unexpected '", static_cast<char>(c), "'"));
      brackets.pop_back();
    }
    ++pos_;
    add(Kind::kOperator, std::string(1, static_cast<char>(c)), begin);
  }

  void number() {
    const std::size_t begin = pos_;
    std::string digits;
    bool is_float = false;
    const auto run = [&] {
      while (pos_ < source_.size() &&
             (std::isdigit(static_cast<unsigned char>(source_[pos_])) || source_[pos_] == '_')) {
        if (source_[pos_] != '_') digits += source_[pos_];
        ++pos_;
      }
    };
    const auto digit_at = [&](std::size_t p) {
      return p < source_.size() && std::isdigit(static_cast<unsigned char>(source_[p]));
    };
    run();
    if (at(pos_, ".") && digit_at(pos_ + 1)) {
      is_float = true;
      digits += '.', ++pos_;
      run();
    }
    if ((at(pos_, "e") || at(pos_, "E")) &&
        (digit_at(pos_ + 1) || ((at(pos_ + 1, "-") || at(pos_ + 1, "+")) && digit_at(pos_ + 2)))) {
      is_float = true;
      digits += 'e', ++pos_;
      if (!digit_at(pos_)) digits += source_[pos_++];
      run();
    }
    add(is_float ? Kind::kFloat : Kind::kInteger, digits, begin);
  }

  void string_token(char mark) {
    const std::size_t begin = pos_++;
    std::string out;
    while (true) {
      if (pos_ >= source_.size()) fail(begin, "a string has no end");
      const char c = source_[pos_++];
      if (c == mark) break;
      if (c != '\\') {
        out += c;
        continue;
      }
      if (pos_ >= source_.size()) fail(begin, "a string has no end");
      escape(out, begin);
    }
    add(Kind::kString, std::move(out), begin);
  }

  // Python's string escapes; an unknown one keeps its backslash.
  void escape(std::string& out, std::size_t begin) {
    const char c = source_[pos_++];
    const auto code = [&](std::size_t digits) {
      std::string hex;
      while (hex.size() < digits && pos_ < source_.size() && std::isxdigit(static_cast<unsigned char>(source_[pos_])))
        hex += source_[pos_++];
      const auto value = hex.size() == digits ? std::stoul(hex, nullptr, 16) : 0x110000;
      if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) fail(begin, "bad escape in a string");
      unicode::append(out, static_cast<char32_t>(value));
    };
    switch (c) {
      case 'n': out += '\n'; break;
      case 't': out += '\t'; break;
      case 'r': out += '\r'; break;
      case 'a': out += '\a'; break;
      case 'b': out += '\b'; break;
      case 'f': out += '\f'; break;
      case 'v': out += '\v'; break;
      case '\\': case '\'': case '"': out += c; break;
      case '\n': break;
      case 'N': fail(begin, "\\N{...} in a string is not implemented");
      case 'x': code(2); break;
      case 'u': code(4); break;
      case 'U': code(8); break;
      default:
        if (c >= '0' && c <= '7') {
          unsigned value = static_cast<unsigned>(c - '0');
          for (int i = 0; i < 2 && pos_ < source_.size() && source_[pos_] >= '0' && source_[pos_] <= '7'; ++i)
            value = value * 8 + static_cast<unsigned>(source_[pos_++] - '0');
          unicode::append(out, value);
        } else {
          out += '\\';
          out += c;
        }
    }
  }

  std::string_view source_;
  std::size_t pos_ = 0;
  bool line_starts_ = true;  // the text part begins a line
  std::vector<Token> tokens_;
};

}  // namespace

std::string position(std::string_view source, std::size_t offset) {
  std::size_t line = 1, column = 1;
  for (std::size_t i = 0; i < offset && i < source.size(); ++i) {
    if (source[i] == '\n') {
      ++line, column = 1;
    } else if ((static_cast<unsigned char>(source[i]) & 0xC0) != 0x80) {
      ++column;
    }
  }
  return message("line ", line, ", column ", column);
}

std::vector<Token> tokenize(std::string_view source) { return Lexer(source).run(); }

std::string normalize_lines(std::string_view source) {
  std::string out;
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
    } else {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    }
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

}  // namespace r1::jinja
