// Rewrites of mutate.h.
#include <algorithm>
#include <utility>

#include "rewards/math/mutate.h"
#include "rewards/math/scalar.h"

namespace r1::math {
namespace {

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

bool has(std::string_view s, std::string_view part) { return s.find(part) != std::string_view::npos; }

// Every `from` outside of longer command names.
std::string all(std::string s, std::string_view from, std::string_view to) {
  for (std::size_t i = s.find(from); i != std::string::npos; i = s.find(from, i + to.size())) {
    const std::size_t end = i + from.size();
    if (is_letter(from.back()) && end < s.size() && is_letter(s[end])) {
      i += from.size() - std::min(from.size(), to.size());
      continue;
    }
    s.replace(i, from.size(), to);
  }
  return s;
}

std::string full_width(const std::string& s) {
  std::string out;
  for (const char c : s) {
    if (is_digit(c)) out += {'\xEF', '\xBC', static_cast<char>('\x90' + (c - '0'))};
    else out += c;
  }
  return out;
}

bool is_integer(std::string_view s) {
  if (s.starts_with('-')) s.remove_prefix(1);
  return !s.empty() && s.size() < 15 && (s == "0" || s[0] != '0') && std::all_of(s.begin(), s.end(), is_digit);
}

class Rewriter {
 public:
  Rewriter(const std::string& gold, const Answer& read) : s_(gold), read_(read) {}

  std::vector<Edit> run() {
    dress();
    if (read_.parsed.ok() && !read_.word && !read_.choice) {
      signs();
      if (is_integer(s_)) integer();
      fraction();
      if (is_plain_scalar()) scalar();
      collections();
    }
    return std::move(out_);
  }

 private:
  void add(std::string_view kind, std::string text) {
    if (text != s_) out_.push_back({kind, std::move(text)});
  }

  void dress() {
    const bool money = has(s_, "$");
    if (!money) {
      add("dollars", "$" + s_ + "$");
      add("delimiters", "\\(" + s_ + "\\)");
    }
    add("spaces", "  " + s_ + " ");
    add("full stop", s_ + ".");
    add("box", "\\boxed{" + s_ + "}");
    add("display style", "\\displaystyle " + s_);
    if (!has(s_, "\\text")) add("full width", full_width(s_));
    add("dfrac", all(s_, "\\frac", "\\dfrac"));
    add("tfrac", all(s_, "\\frac", "\\tfrac"));
    if (has(s_, "(") && !has(s_, "\\left") && !has(s_, "[") && !has(s_, "]") && !has(s_, "\\text"))
      add("left right", all(all(s_, "(", "\\left("), ")", "\\right)"));
    if (has(s_, "\\left") && !has(s_, "\\left.")) add("left right", all(all(s_, "\\left", ""), "\\right", ""));
    add("matrix brackets", all(s_, "{pmatrix}", "{bmatrix}"));
  }

  void signs() {
    add("times", all(s_, "\\cdot", "\\times"));
    add("pi sign", all(s_, "\\pi", "\u03C0"));
    add("infinity sign", all(s_, "\\infty", "\u221E"));
    add("union sign", all(s_, "\\cup", "\u222A"));
    add("relation sign", all(all(s_, "\\le", "\\leq"), "\\ge", "\\geq"));
    add("relation sign", all(all(s_, "\\leq", "\u2264"), "\\geq", "\u2265"));
    if (!has(s_, "\\text") && !has(s_, "\\begin") && (has(s_, "+") || has(s_, "=")))
      add("spaces", all(all(s_, "+", " + "), "=", " = "));
    if (has(s_, "\\sqrt{") && !has(s_, "frac")) add("plain root", all(s_, "\\sqrt{", " sqrt{"));
  }

  void integer() {
    const std::string digits = s_.starts_with('-') ? s_.substr(1) : s_, sign = s_.starts_with('-') ? "-" : "";
    add("point zero", s_ + ".0");
    add("text", "\\text{" + s_ + "}");
    add("fraction", "\\frac{" + mpz_class(mpz_class(s_) * 3).get_str() + "}{3}");
    add("sum", mpz_class(mpz_class(s_) - 5).get_str() + "+5");
    add("product", "(" + s_ + ")\\cdot 1");
    if (digits.size() > 3) {
      for (const std::string_view comma : {",", "{,}", "\\,", "\\!,"}) {
        std::string grouped = digits;
        for (std::size_t k = digits.size() - 3; k > 0 && k < digits.size(); k = k > 3 ? k - 3 : 0) grouped.insert(k, comma);
        add("thousands", sign + grouped);
      }
    }
  }

  // \frac{a}{b} of whole numbers
  void fraction() {
    for (const std::string_view command : {"\\frac{", "\\dfrac{"}) {
      std::string_view s = s_;
      std::string sign;
      if (s.starts_with('-')) sign = "-", s.remove_prefix(1);
      if (!s.starts_with(command) || !s.ends_with('}')) continue;
      s.remove_prefix(command.size());
      const std::size_t middle = s.find("}{");
      if (middle == std::string_view::npos) continue;
      const std::string top(s.substr(0, middle)), bottom(s.substr(middle + 2, s.size() - middle - 3));
      if (!is_integer(top) || !is_integer(bottom)) continue;
      add("slash", sign + top + "/" + bottom);
      add("slash", sign + top + " / " + bottom);
      add("not reduced", sign + "\\frac{" + mpz_class(mpz_class(top) * 7).get_str() + "}{" + mpz_class(mpz_class(bottom) * 7).get_str() + "}");
      add("sign inside", sign.empty() ? "-\\frac{-" + top + "}{" + bottom + "}" : "\\frac{-" + top + "}{" + bottom + "}");
    }
  }

  bool is_plain_scalar() const {
    static constexpr NodeKind kOther[] = {NodeKind::kRelation, NodeKind::kBracketed, NodeKind::kSet,   NodeKind::kList,
                                          NodeKind::kUnion,    NodeKind::kRatio,     NodeKind::kMatrix, NodeKind::kUnit,
                                          NodeKind::kPercent,  NodeKind::kBased,     NodeKind::kPlusMinus};
    const Item all_of_it{&read_.parsed.tree, read_.parsed.tree.root, 0};
    for (const NodeKind k : kOther) {
      if (contains(all_of_it, k)) return false;
    }
    return !has(s_, "circ") && !has(s_, "\\text") && !has(s_, "mbox") && !has(s_, "$") && !has(s_, "dots") && !has(s_, "infty") &&
           !has(s_, " ") && !has(s_, ".") && !has(s_, ",");
  }
  void scalar() {
    add("brackets", "(" + s_ + ")");
    add("doubled and halved", "\\frac{2(" + s_ + ")}{2}");
    add("twice negative", "-(-(" + s_ + "))");
    add("plus and minus", "(" + s_ + ")+\\sqrt{7}-\\sqrt{7}");
    add("power of one", "\\left(" + s_ + "\\right)^{1}");
    if (!has(s_, "w")) add("named", "w = " + s_);
    add("three times a third", "3\\cdot\\left(" + s_ + "\\right)\\cdot\\frac13");
    add("terms turned", turned_sum());
  }
  // a+b-c -> -c+b+a, where + and - stand on the topmost level
  std::string turned_sum() const {
    if (read_.parsed.tree.nodes[read_.parsed.tree.root].kind != NodeKind::kSum || has(s_, "\\pm")) return s_;
    std::vector<std::string> terms(1);
    int depth = 0;
    for (const char c : s_) {
      depth += c == '(' || c == '{' || c == '[';
      depth -= c == ')' || c == '}' || c == ']';
      if ((c == '+' || c == '-') && depth == 0 && !terms.back().empty()) {
        if (terms.back().back() == '^' || terms.back().back() == '-' || terms.back().back() == '*') return s_;
        terms.emplace_back();
      }
      terms.back() += c;
    }
    std::string out;
    for (auto t = terms.rbegin(); t != terms.rend(); ++t) out += (out.empty() || (*t)[0] == '+' || (*t)[0] == '-' ? "" : "+") + *t;
    return out[0] == '+' ? out.substr(1) : out;
  }

  void collections() {
    const NodeKind root = read_.parsed.tree.nodes[read_.parsed.tree.root].kind;
    const bool set = root == NodeKind::kSet && s_.starts_with("\\{") && s_.ends_with("\\}");
    if ((root == NodeKind::kList || set) && !has(s_, "dots") && !has(s_, "or") && !has(s_, "and") && !has(s_, ";")) {
      std::vector<std::string> parts = top_entries(set ? std::string_view(s_).substr(2, s_.size() - 4) : std::string_view(s_));
      std::reverse(parts.begin(), parts.end());
      std::string out;
      for (const std::string& p : parts) out += (out.empty() ? "" : ", ") + p;
      add("turned order", set ? "\\{" + out + "\\}" : out);
    }
    if (root == NodeKind::kRelation && std::count(s_.begin(), s_.end(), '=') == 1 && !has(s_, ",") && !has(s_, "\\ne") && !has(s_, "text")) {
      const std::size_t at = s_.find('=');
      add("sides turned", s_.substr(at + 1) + "=" + s_.substr(0, at));
    }
  }

  const std::string& s_;
  const Answer& read_;
  std::vector<Edit> out_;
};

}  // namespace

std::vector<Edit> rewrites(const std::string& gold, const Answer& read) { return Rewriter(gold, read).run(); }

}  // namespace r1::math
