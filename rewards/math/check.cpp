#include "rewards/math/check.h"

#include <algorithm>

#include "rewards/answer_text.h"
#include "rewards/completion_text.h"
#include "rewards/math/parser.h"
#include "rewards/math/shape.h"
#include "rewards/math_answer.h"

namespace r1::math {
namespace {

constexpr bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// The letter of a multiple choice: "C", "(C)", "C.", "(C) 12", "C: 12"; 0 if it is none. alone: nothing follows.
struct Choice {
  char letter = 0;
  bool alone = false;
};
Choice choice_of(std::string_view s) {
  const bool open = s.starts_with('(');
  if (open) s.remove_prefix(1);
  if (s.empty() || s[0] < 'A' || s[0] > 'J') return {};
  const char letter = s[0];
  s.remove_prefix(1);
  if (s.empty()) return open ? Choice{} : Choice{letter, true};
  const char mark = s[0];
  if (open ? mark != ')' : mark != ')' && mark != '.' && mark != ':') return {};
  s.remove_prefix(1);
  if (!s.empty() && s[0] != ' ') return {};  // (A)(B), A:B
  return {letter, trim(s).empty()};
}

// Letters only: then it is rather a name than a product, and "act" is not "cat".
bool is_word(std::string_view s) { return s.size() > 2 && std::all_of(s.begin(), s.end(), is_letter); }
bool is_short_word(std::string_view s) {
  return s == "no" || s == "on" || s == "No" || s == "On" || s == "NO" || s == "up" || s == "so";
}

std::string cut(const std::string& s) { return s.size() <= 80 ? s : s.substr(0, 60) + "..."; }

Verdict verdict(Outcome outcome, bool proved, std::string reason, std::string gold, std::string answer) {
  return {outcome, proved, std::move(gold), std::move(answer), std::move(reason)};
}

}  // namespace

Verdict check(std::string_view gold_text, std::string_view answer_text, const CheckOptions& options) {
  const MathAnswer gold = parse_math_answer(plain_forms(gold_text));
  const MathAnswer answer = parse_math_answer(plain_forms(answer_text));
  std::string g = cut(gold.text), a = cut(answer.text);
  if (gold.key.empty()) return verdict(Outcome::kUndecided, false, "unreadable_gold", g, a);

  const MathComparison simple =
      compare_math(gold, answer, {options.rounding_digits, options.percent_is_fraction, options.check_units});
  if (gold.number && answer.number) {
    return verdict(simple.equal ? Outcome::kEqual : Outcome::kDifferent, true, simple.why, r1::to_string(gold),
                   r1::to_string(answer));
  }
  if (simple.equal) return verdict(Outcome::kEqual, true, simple.why, g, a);

  const Choice x = choice_of(gold.text), y = choice_of(answer.text);
  if (x.letter && y.letter && (x.alone || y.alone)) {
    const bool same = x.letter == y.letter;
    return verdict(same ? Outcome::kEqual : Outcome::kDifferent, true, "choice", g, a);
  }

  // Of "x = 5" the shorter text was kept, for numbers; the trees want the whole.
  const Parsed gold_tree = parse(clean_answer(plain_forms(gold_text)));
  const Parsed answer_tree = parse(clean_answer(plain_forms(answer_text)));
  for (const Parsed* p : {&gold_tree, &answer_tree}) {
    if (p->over_limit()) return verdict(Outcome::kUndecided, false, std::string(p->why), g, a);
  }
  const bool words = is_word(gold.text) || is_word(answer.text) || is_short_word(gold.text) || is_short_word(answer.text);
  if (!gold_tree.ok() || !answer_tree.ok() || words)
    return verdict(Outcome::kDifferent, false, "text", g, a);

  Budget budget(kOperations);
  const Finding f = compare_shapes(gold_tree.tree, answer_tree.tree, options, budget);
  return verdict(f.outcome, f.proved, f.reason, to_string(gold_tree.tree), to_string(answer_tree.tree));
}

}  // namespace r1::math
