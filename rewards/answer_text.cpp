#include "rewards/answer_text.h"

#include <algorithm>
#include <vector>

#include "rewards/completion_text.h"

namespace r1 {
namespace {

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

constexpr std::string_view kWrappers[] = {
    "text",  "textbf", "textit", "textrm",       "textnormal", "mathrm", "mathbf",  "mathit", "mathsf",    "mbox",
    "boxed", "fbox",   "emph",   "operatorname", "bf",         "rm",     "mathcal", "bm",     "boldsymbol"};
// Of these the content is mathematics still: letters in them are products.
constexpr std::string_view kMathWrappers[] = {"boxed", "fbox", "mathbf", "mathit", "mathcal", "bm", "boldsymbol", "bf"};
constexpr std::string_view kDropped[] = {"left", "right", "displaystyle", "textstyle", "big",      "Big",    "bigl",
                                         "bigr", "Bigl",  "Bigr",         "limits",    "nolimits", "middle", "phantom"};

template <std::size_t N>
bool contains(const std::string_view (&list)[N], std::string_view word) {
  return std::find(std::begin(list), std::end(list), word) != std::end(list);
}

// Three digits and then no more: the group after a thousands separator.
bool digit_group(std::string_view s) {
  return s.size() >= 3 && is_digit(s[0]) && is_digit(s[1]) && is_digit(s[2]) && (s.size() == 3 || !is_digit(s[3]));
}

class Cleaner {
 public:
  explicit Cleaner(std::string_view text) : s_(text) {}

  CleanAnswer run() {
    const auto dollars = std::count(s_.begin(), s_.end(), '$');
    const auto escaped = count_escaped_dollars();
    // An odd sign is money: "$42", "\$42"; pairs are delimiters.
    keep_dollar_ = escaped == 0 && dollars % 2 == 1;
    while (i_ < s_.size()) step();
    return finish();
  }

 private:
  std::int64_t count_escaped_dollars() const {
    std::int64_t n = 0;
    for (std::size_t i = s_.find("\\$"); i != std::string_view::npos; i = s_.find("\\$", i + 2)) ++n;
    return n;
  }
  void space() {
    if (!out_.empty() && out_.back() != ' ') out_ += ' ';
  }

  void step() {
    const char c = s_[i_];
    if (c == '\\') {
      command();
    } else if (c == '$') {
      ++i_;
      if (keep_dollar_) {
        out_ += '$';
        keep_dollar_ = false;
      }
    } else if (c == '~' || c == ' ' || c == '\t' || c == '\n' || c == '\r') {
      ++i_;
      space();
    } else if (c == '{') {
      if (s_.substr(i_).starts_with("{,}")) {
        out_ += ',';
        i_ += 3;
      } else {
        ++i_;
        braces_.push_back({});
        out_ += '{';
      }
    } else if (c == '}') {
      ++i_;
      const Brace open = braces_.empty() ? Brace{} : braces_.back();
      if (!braces_.empty()) braces_.pop_back();
      if (open.keep) out_ += '}';
      if (open.upright) {
        while (!upright_.empty() && upright_.back().first >= open.begin) upright_.pop_back();  // \text{\text{..}}
        upright_.emplace_back(static_cast<std::uint32_t>(open.begin), static_cast<std::uint32_t>(out_.size()));
      }
    } else if (c == '^' && (s_.substr(i_).starts_with("^\\circ") || s_.substr(i_).starts_with("^{\\circ}"))) {
      i_ += s_[i_ + 1] == '{' ? 8 : 6;
      out_ += "^\\circ ";
    } else {
      ++i_;
      out_ += c;
    }
  }

  void command() {
    const char next = i_ + 1 < s_.size() ? s_[i_ + 1] : '\0';
    if (!is_letter(next)) {
      i_ += next ? 2 : 1;
      switch (next) {
        case '$': out_ += '$'; return;
        case '%':
        case '&':
        case '#':
        case '_': out_ += next; return;
        case '(':
        case ')':
        case '[':
        case ']': return;  // math delimiters
        case '!': {        // 10,\!000 and 10, \! 000
          const std::size_t next_word = std::min(s_.find_first_not_of(' ', i_), s_.size());
          if (trim(out_).ends_with(',') && digit_group(s_.substr(next_word))) {
            while (out_.back() == ' ') out_.pop_back();
            i_ = next_word;
          }
          return;
        }
        case ',':
        case ' ':
        case ';':
        case ':':
        case '>':
          if (out_.size() && is_digit(out_.back()) && digit_group(s_.substr(i_))) return;  // 10\,000
          space();
          return;
        case '\0': return;
        default:
          out_ += '\\';
          out_ += next;
          return;
      }
    }
    std::size_t end = i_ + 1;
    while (end < s_.size() && is_letter(s_[end])) ++end;
    const std::string_view name = s_.substr(i_ + 1, end - i_ - 1);
    i_ = end;
    if (contains(kWrappers, name)) {
      std::size_t brace = i_;
      while (brace < s_.size() && s_[brace] == ' ') ++brace;
      space();
      if (brace < s_.size() && s_[brace] == '{') {
        braces_.push_back({false, !contains(kMathWrappers, name), out_.size()});
        i_ = brace + 1;
      }
    } else if (contains(kDropped, name)) {
      if (i_ < s_.size() && s_[i_] == '.') ++i_;  // \left.
    } else if (name == "quad" || name == "qquad" || name == "space" || name == "thinspace") {
      space();
    } else if (name == "dfrac" || name == "tfrac" || name == "cfrac") {
      out_ += "\\frac";
    } else if (name == "times" || name == "cdot" || name == "ast") {
      out_ += '*';
    } else if (name == "div") {
      out_ += '/';
    } else if (name == "degree" || name == "degrees") {
      out_ += "^\\circ ";
    } else if (name == "percent") {
      out_ += '%';
    } else if (name == "dollar") {
      out_ += '$';
    } else if (name == "approx" || name == "simeq" || name == "equiv") {
      out_ += name == "equiv" ? "\\equiv " : "=";
    } else {
      out_ += '\\';
      out_ += name;
      if (i_ < s_.size() && (is_letter(s_[i_]) || s_[i_] == ' ')) space();
    }
  }

  CleanAnswer finish() {
    std::string_view out = trim(out_);
    for (bool again = true; again && !out.empty();) {
      again = false;
      for (const std::string_view mark : {"**", "__", "`", "*"}) {  // emphasis at both ends or one
        if (out.starts_with(mark)) out.remove_prefix(mark.size()), again = true;
        if (out.ends_with(mark)) out.remove_suffix(mark.size()), again = true;
      }
      for (const char quote : {'"', '\''}) {
        if (out.size() > 2 && out.front() == quote && out.back() == quote)
          out = out.substr(1, out.size() - 2), again = true;
      }
      if (!out.empty() && (out.back() == '.' || out.back() == ',' || out.back() == ';' || out.back() == ':')) {
        out.remove_suffix(1);
        again = true;
      }
      if (!out.empty() && (out.front() == ':' || out.front() == '=')) out.remove_prefix(1), again = true;
      const std::string_view trimmed = trim(out);
      again = again && !trimmed.empty();
      out = trimmed;
    }
    CleanAnswer clean{std::string(out), std::move(upright_)};
    const auto cut = static_cast<std::uint32_t>(out.empty() ? 0 : out.data() - out_.data());
    const auto size = static_cast<std::uint32_t>(clean.text.size());  // its end may have been cut off too
    for (auto& [begin, end] : clean.upright) begin = std::min(begin - std::min(begin, cut), size), end = std::min(end - std::min(end, cut), size);
    return clean;
  }

  std::string_view s_;
  std::size_t i_ = 0;
  std::string out_;
  struct Brace {
    bool keep = true, upright = false;
    std::size_t begin = 0;  // of the content in out_
  };
  std::vector<Brace> braces_;  // the open ones
  std::vector<std::pair<std::uint32_t, std::uint32_t>> upright_;
  bool keep_dollar_ = false;
};

}  // namespace

CleanAnswer clean_answer_spans(std::string_view text) { return Cleaner(text).run(); }
std::string clean_answer(std::string_view text) { return Cleaner(text).run().text; }

std::string text_key(std::string_view cleaned) {
  std::string out;
  out.reserve(cleaned.size() + 8);
  int arguments = 0;       // that the command just seen still wants
  std::vector<int> stack;  // the same, outside each open brace
  for (std::size_t i = 0; i < cleaned.size();) {
    const char c = cleaned[i];
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
      ++i;
      // 1 1/2 is not 11/2.
      if (!out.empty() && is_digit(out.back()) && i < cleaned.size() && is_digit(cleaned[i])) out += ' ';
      continue;
    }
    if (c == '\\' && i + 1 < cleaned.size() && is_letter(cleaned[i + 1])) {
      std::size_t end = i + 1;
      while (end < cleaned.size() && is_letter(cleaned[end])) ++end;
      const std::string_view name = cleaned.substr(i, end - i);
      const bool argument = arguments > 0;
      if (argument) out += '{';
      out += name;
      if (argument) out += '}', --arguments;
      if (name == "\\frac") arguments = 2;
      else if (name == "\\sqrt") arguments = end < cleaned.size() && cleaned[end] == '[' ? 0 : 1;
      i = end;
      continue;
    }
    if (c == '{') {
      stack.push_back(std::max(0, arguments - 1));
      arguments = 0;
      out += c;
    } else if (c == '}') {
      arguments = stack.empty() ? 0 : stack.back();
      if (!stack.empty()) stack.pop_back();
      out += c;
    } else if (arguments > 0) {
      out += '{';
      out += c;
      out += '}';
      --arguments;
    } else {
      out += c;
      if (c == '^' || c == '_') arguments = 1;
    }
    ++i;
  }
  if (out.size() == 3 && is_letter(out[1]) && ((out[0] == '(' && out[2] == ')') || (out[0] == '{' && out[2] == '}'))) out = out.substr(1, 1);
  const bool word =
      out.size() >= 2 && std::all_of(out.begin(), out.end(), [](char c) {
        return is_letter(c) || static_cast<unsigned char>(c) >= 0x80 || c == '-' || c == '\'' || c == ',' || c == '.';
      });
  static constexpr std::string_view kShort[] = {"no", "on", "up", "so", "he", "it", "we"};
  std::string small = out;
  for (char& c : small) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  if (word && (out.size() > 2 || contains(kShort, small))) return small;
  return out;
}

}  // namespace r1
