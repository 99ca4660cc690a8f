#include "rewards/math/mutate.h"

#include <algorithm>
#include <utility>

namespace r1::math {
namespace {

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

std::string replaced(std::string_view s, std::size_t at, std::size_t count, std::string_view with) {
  return std::string(s.substr(0, at)) + std::string(with) + std::string(s.substr(at + count));
}

std::string without_spaces(std::string s) {
  std::erase(s, ' ');
  return s;
}

// The end of the group that opens at `at`, behind its brace; npos if it does not close.
std::size_t group_end(std::string_view s, std::size_t at) {
  int depth = 0;
  for (std::size_t i = at; i < s.size(); ++i) {
    depth += s[i] == '{';
    depth -= s[i] == '}';
    if (depth == 0) return i + 1;
  }
  return std::string_view::npos;
}

class Mutator {
 public:
  explicit Mutator(const std::string& gold) : s_(gold) {}

  std::vector<Edit> run() {
    while (i_ < s_.size()) {
      const char c = s_[i_];
      if (c == '\\') command();
      else if (is_digit(c)) number();
      else if (is_letter(c)) letter();
      else sign(c), ++i_;
    }
    entries();
    return std::move(out_);
  }

 private:
  void add(std::string_view kind, std::string text) {
    if (text != s_ && text.find_first_not_of(" {}") != std::string::npos) out_.push_back({kind, std::move(text)});
  }

  void number() {
    std::size_t end = i_;
    while (end < s_.size() && is_digit(s_[end])) ++end;
    for (std::size_t k = i_; k < end; ++k) {
      for (const int by : {1, 5}) {
        const std::string digit(1, static_cast<char>('0' + (s_[k] - '0' + by) % 10));
        add("digit", replaced(s_, k, 1, digit));
      }
      if (k + 1 < end && s_[k] != s_[k + 1]) add("digits swapped", replaced(s_, k, 2, std::string{s_[k + 1], s_[k]}));
    }
    if (end - i_ > 1) add("digit dropped", replaced(s_, i_, 1, s_[i_] == '0' ? "0" : ""));
    add("digit added", replaced(s_, i_, 0, "7"));
    if (end + 1 < s_.size() && s_[end] == '.' && is_digit(s_[end + 1])) add("point", replaced(s_, end, 1, ""));
    i_ = end;
  }

  void letter() {
    std::size_t end = i_;
    while (end < s_.size() && is_letter(s_[end])) ++end;
    if (end - i_ == 1) {
      const char c = s_[i_];
      const char other = c == 'z' || c == 'Z' ? static_cast<char>(c - 1) : static_cast<char>(c + 1);
      add("letter", replaced(s_, i_, 1, std::string(1, other)));
      if (c == 'i') add("i dropped", replaced(s_, i_, 1, ""));
    }
    i_ = end;
  }

  void sign(char c) {
    switch (c) {
      case '+': return add("sign", replaced(s_, i_, 1, "-"));
      case '-': return add("sign", replaced(s_, i_, 1, "+"));
      case '(': return add("bracket", replaced(s_, i_, 1, "["));
      case '[': return add("bracket", replaced(s_, i_, 1, "("));
      case ')': return add("bracket", replaced(s_, i_, 1, "]"));
      case ']': return add("bracket", replaced(s_, i_, 1, ")"));
      case '<': return add("relation", replaced(s_, i_, 1, ">"));
      case '>': return add("relation", replaced(s_, i_, 1, "<"));
      case '=': return add("relation", replaced(s_, i_, 1, " \\ne "));
      case '^': return exponent();
      case '_': return subscript();
      default: return;
    }
  }

  std::size_t script_end() const {
    if (i_ + 1 >= s_.size() || s_[i_ + 1] == '\\') return std::string_view::npos;
    return s_[i_ + 1] == '{' ? group_end(s_, i_ + 1) : i_ + 2;
  }
  void exponent() {
    const std::size_t end = script_end();
    if (end == std::string_view::npos || s_.substr(i_, end - i_).find("circ") != std::string_view::npos) return;
    if (s_.substr(0, i_).ends_with("units}")) return;  // "45 units" names no unit, and a missing one agrees with any
    add("exponent dropped", replaced(s_, i_, end - i_, ""));
  }
  void subscript() {
    const std::size_t end = script_end();
    if (end != std::string_view::npos && s_.find("\\log") == std::string_view::npos)
      add("index dropped", replaced(s_, i_, end - i_, ""));
  }

  void command() {
    const std::size_t begin = i_++;
    while (i_ < s_.size() && is_letter(s_[i_])) ++i_;
    if (i_ == begin + 1) {
      ++i_;
      return;
    }
    const std::string_view name = s_.substr(begin, i_ - begin);
    const auto instead = [&](std::string_view kind, std::string_view with) {
      add(kind, replaced(s_, begin, name.size(), with));
    };
    if (name == "\\pi") instead("constant", "e"), instead("constant dropped", "{}");
    else if (name == "\\sqrt" && i_ < s_.size() && s_[i_] == '{') instead("root dropped", ""), instead("index", "\\sqrt[3]");
    else if (name == "\\sqrt" && i_ < s_.size() && s_[i_] == '[') add("index", replaced(s_, i_, s_.find(']', i_) - i_ + 1, ""));
    else if (name == "\\frac" || name == "\\dfrac") fraction();
    else if (name == "\\le" || name == "\\leq") instead("relation", " < ");
    else if (name == "\\ge" || name == "\\geq") instead("relation", " > ");
    else if (name == "\\infty") instead("constant", "1");
    else if (name == "\\sin") instead("function", "\\cos");
    else if (name == "\\cos" || name == "\\tan") instead("function", "\\sin");
    else if (name == "\\text" || name == "\\mbox" || name == "\\textbf") words(begin);
    else if (name == "\\begin" || name == "\\end") i_ = std::min(s_.size(), group_end(s_, i_));
  }

  void fraction() {
    if (i_ >= s_.size() || s_[i_] != '{') return;
    const std::size_t middle = group_end(s_, i_);
    if (middle >= s_.size() || s_[middle] != '{') return;
    const std::size_t end = group_end(s_, middle);
    if (end == std::string_view::npos) return;
    const std::string turned = std::string(s_.substr(middle, end - middle)) + std::string(s_.substr(i_, middle - i_));
    add("fraction turned", replaced(s_, i_, end - i_, turned));
  }

  // Words beside a number are units and remarks, which an answer may leave out; a whole answer of words is none of them.
  void words(std::size_t begin) {
    if (i_ >= s_.size() || s_[i_] != '{') return;
    const std::size_t end = group_end(s_, i_);
    if (end == std::string_view::npos) return;
    if (begin == 0 && end == s_.size() && std::none_of(s_.begin(), s_.end(), is_digit)) {
      for (std::size_t k = i_ + 1; k + 1 < end; ++k) {
        const char c = s_[k];
        if (is_letter(c)) add("letter", replaced(s_, k, 1, std::string(1, c == 'z' || c == 'Z' ? static_cast<char>(c - 1) : static_cast<char>(c + 1))));
      }
    }
    i_ = end;
  }

  void entries() {
    const std::string_view s = s_;
    if (s.empty()) return;
    // The content of a bracket that is the whole answer, else a free list.
    std::size_t from = 0, to = s.size();
    if (s.starts_with("\\left")) from = 5, to = s.rfind("\\right");
    if (to == std::string_view::npos || to <= from) return;
    const bool set = s.substr(from).starts_with("\\{");
    const bool round = !set && (s[from] == '(' || s[from] == '[');
    if (set) from += 2, to -= s.ends_with("\\}") && to == s.size() ? 2 : 0;
    else if (round) from += 1, to -= to == s.size() ? 1 : 0;
    if (to <= from) return;
    const std::vector<std::string> parts = top_entries(s.substr(from, to - from));
    if (parts.size() < 2 || (parts.size() > 1 && is_digit(parts[0].back()) && parts[1].size() == 3 && !round && !set)) return;  // 1,000
    const auto joined = [&](std::vector<std::string> p) {
      std::string out(s.substr(0, from));
      for (std::size_t k = 0; k < p.size(); ++k) out += (k ? "," : "") + p[k];
      return out + std::string(s.substr(to));
    };
    auto p = parts;
    p.pop_back();
    add("entry dropped", joined(p));
    p = parts;
    p.push_back("17");
    add("entry added", joined(p));
    if (round && without_spaces(parts[0]) != without_spaces(parts[1])) {
      p = parts;
      std::swap(p[0], p[1]);
      add("entries swapped", joined(p));
    }
  }

  std::string_view s_;
  std::size_t i_ = 0;
  std::vector<Edit> out_;
};

}  // namespace

std::vector<std::string> top_entries(std::string_view text) {
  std::vector<std::string> out(1);
  int depth = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    depth += c == '(' || c == '[' || c == '{';
    depth -= c == ')' || c == ']' || c == '}';
    if (c == ',' && depth == 0) out.emplace_back();
    else out.back() += c;
  }
  return out;
}

std::vector<Edit> mutations(const std::string& gold) { return Mutator(gold).run(); }

}  // namespace r1::math
