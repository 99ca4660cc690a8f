#include "rewards/math_answer.h"

#include <algorithm>

#include "core/error.h"
#include "rewards/answer_text.h"
#include "rewards/completion_text.h"
#include "rewards/math/parse_tables.h"
#include "rewards/units.h"

namespace r1 {
namespace {

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// The position of the last plain "=", npos if there is none or a relation such as <= or != stands in the text.
std::size_t last_equals(std::string_view s) {
  const std::size_t at = s.rfind('=');
  if (at == std::string_view::npos || at == 0 || at + 1 >= s.size()) return std::string_view::npos;
  for (std::size_t i = s.find('='); i != std::string_view::npos; i = s.find('=', i + 1)) {
    if (i > 0 && (s[i - 1] == '<' || s[i - 1] == '>' || s[i - 1] == '!' || s[i - 1] == '=' || s[i - 1] == ':'))
      return std::string_view::npos;
  }
  return at;
}

// Only numbers and + - * / ( ) =: the working in front of a result.
bool is_arithmetic(std::string_view s) {
  return std::all_of(s.begin(), s.end(), [](char c) {
    return is_digit(c) || std::string_view(" +-*/().,=^%$").find(c) != std::string_view::npos;
  });
}

// A name or a sum of names without numbers of its own: x, f(3), m+n, \angle ABC, P(A). Digits only in brackets or
// subscripts. \sqrt{32} is no name but a value: what is set equal to it must be equal.
bool is_name(std::string_view s) {
  int depth = 0;
  bool letter = false;
  for (std::size_t i = 0; i < s.size(); ++i) {
    const char c = s[i];
    if (c == '\\') {
      std::size_t end = i + 1;
      while (end < s.size() && is_letter(s[end])) ++end;
      const std::string_view command = s.substr(i + 1, end - i - 1);
      if (math::is_atom_command(command) && !math::is_symbol_command(command)) return false;
      letter = true;
      i = end - 1;
    } else if (c == '(' || c == '{') ++depth;
    else if (c == ')' || c == '}') --depth;
    else if (is_letter(c) || static_cast<unsigned char>(c) >= 0x80) letter = true;
    else if (is_digit(c)) {
      if (depth == 0 && (i == 0 || s[i - 1] != '_')) return false;
    } else if (c == '^' || c == '=' || c == '<' || c == '>') {
      return false;
    }
  }
  return letter && depth == 0;
}

}  // namespace

MathAnswer parse_math_answer(std::string_view text) {
  MathAnswer out;
  out.text = clean_answer(text);
  out.number = parse_number(out.text);
  if (!out.number) {
    if (const std::size_t at = last_equals(out.text); at != std::string_view::npos) {
      const std::string_view whole = out.text;
      const std::string_view left = trim(whole.substr(0, at)), right = trim(whole.substr(at + 1));
      if (is_arithmetic(left)) {
        out.number = parse_number(right);
        // "4 = 5" claims two values.
        const auto claimed =
            parse_number(left.substr(left.rfind('=') == std::string_view::npos ? 0 : left.rfind('=') + 1));
        if (out.number && claimed && claimed->value != out.number->value) out.number.reset();
      } else if (is_name(left)) {
        out.variable = text_key(left);
        out.number = parse_number(right);
        out.text = std::string(right);
      }
    }
  }
  out.key = text_key(out.text);
  return out;
}

std::string to_string(const MathAnswer& a) {
  if (a.number) return to_string(*a.number);
  return a.text.size() <= 80 ? a.text : a.text.substr(0, 60) + "...";
}

MathComparison compare_math(const MathAnswer& gold, const MathAnswer& answer, const MathCompareOptions& options) {
  if (!gold.variable.empty() && !answer.variable.empty() && gold.variable != answer.variable)
    return {false, "variable"};
  if (!gold.number || !answer.number) {
    // "0.5" against a text, or two texts. Equal keys are equal in any case.
    if (!gold.key.empty() && gold.key == answer.key) return {true, "text"};
    return {false, gold.number ? "not_a_number" : "text"};
  }
  const Number& g = *gold.number;
  const Number& a = *answer.number;
  if (options.check_units && !units_agree(g.unit, a.unit)) return {false, "unit"};
  mpq_class x = g.value, y = a.value;
  if (options.percent_is_fraction) {
    if (g.percent) x /= 100;
    if (a.percent) y /= 100;
  }
  if (x == y) return {true, "exact"};
  if (options.rounding_digits > 0 && g.decimal != a.decimal) {
    const Number& decimal = g.decimal ? g : a;
    mpq_class half_place = decimal.last_place / 2;
    if (options.percent_is_fraction && decimal.percent) half_place /= 100;
    if (decimal.significant_digits >= options.rounding_digits && abs(x - y) <= half_place) return {true, "rounded"};
  }
  return {false, "value"};
}

std::optional<MathAnswer> parse_gold(std::string_view reference) {
  const std::string plain = plain_forms(reference);
  ExtractedAnswer gold = extract_answer(plain, AnswerSource::kHash);
  if (!gold.found) gold = extract_answer(plain, AnswerSource::kBoxed);
  if (!gold.found) gold = extract_answer(plain, AnswerSource::kWhole);
  if (!gold.found) return std::nullopt;
  MathAnswer out = parse_math_answer(gold.text);
  if (out.key.empty()) return std::nullopt;
  return out;
}

namespace {

class MathReward : public RewardFunction {
 public:
  explicit MathReward(ConfigReader& o) {
    static const std::vector<std::string> kNames = {"auto", "boxed", "tag", "hash", "phrase", "last_number", "whole"};
    static constexpr AnswerSource kSources[] = {AnswerSource::kAuto, AnswerSource::kBoxed,  AnswerSource::kTag,
                                                AnswerSource::kHash, AnswerSource::kPhrase, AnswerSource::kLastNumber,
                                                AnswerSource::kWhole};
    const std::string source = o.get_choice("extract", "auto", kNames);
    source_ = kSources[std::find(kNames.begin(), kNames.end(), source) - kNames.begin()];
    require_end_ = o.get<bool>("require_end", false);
    after_think_ = o.get<bool>("after_think", true);
    several_wrong_ = o.get_choice("several_boxes", "wrong", std::vector<std::string>{"wrong", "last"}) == "wrong";
    compare_.rounding_digits = o.get_in<int>("rounding_digits", 3, 0, 100);
    compare_.percent_is_fraction =
        o.get_choice("percent", "unit", std::vector<std::string>{"unit", "fraction"}) == "fraction";
    compare_.check_units = o.get_choice("units", "check", std::vector<std::string>{"check", "ignore"}) == "check";
    correct_ = o.get_in<float>("correct", 1.f, -1e6f, 1e6f);
    wrong_ = o.get_in<float>("wrong", 0.f, -1e6f, 1e6f);
    if (correct_ <= wrong_) o.fail("correct", message("must be larger than wrong (", wrong_, ")"));
  }

  std::string_view name() const override { return "math"; }
  bool judges_answer() const override { return true; }

  std::string check_prompt(const Prompt& prompt) const override {
    if (prompt.reference.empty()) return "no gold answer (data.answer names the column)";
    if (!parse_gold(prompt.reference)) return message("unreadable gold answer '", prompt.reference.substr(0, 60), "'");
    return {};
  }

  void score(const SampleGroup& group, std::span<RewardResult> out) const override {
    const auto gold = parse_gold(group.prompt.reference);
    const std::string shown = gold ? to_string(*gold) : "";
    const bool prefilled = prompt_opens_think(group.prompt);
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (!gold) {
        out[i].detail = "unreadable_gold";  // abstains
        continue;
      }
      judge(*gold, group.completions[i], prefilled, out[i]);
      out[i].columns["gold_parsed"] = shown;
    }
  }

  std::vector<KnownAnswer> known_answers(const Prompt& prompt) const override {
    const auto gold = parse_gold(prompt.reference);
    if (!gold) return {};
    std::string text = gold->text;
    const std::string think = prompt_opens_think(prompt) ? "working</think>" : "";
    const auto make = [&](std::string what, const std::string& body, Verdict verdict, float value) {
      Completion c;
      c.text = think + dress(body);
      c.stop = StopReason::kEos;
      return KnownAnswer{std::move(what), std::move(c), verdict, value};
    };
    std::vector<KnownAnswer> known = {make("the gold answer", text, Verdict::kCorrect, correct_)};
    if (gold->number) {
      const mpq_class other = gold->number->value + 1;
      known.push_back(make("a number that is 1 larger", other.get_str(), Verdict::kWrong, wrong_));
    } else {
      known.push_back(make("another text", "not this one", Verdict::kWrong, wrong_));
    }
    known.push_back({"no answer", make("", "", Verdict::kUnparsed, wrong_).completion, Verdict::kUnparsed, wrong_});
    known.back().completion.text = think + "I do not know.";
    if (source_ == AnswerSource::kWhole) known.pop_back();
    return known;
  }

 private:
  // An answer in the form that the extraction of this reward reads.
  std::string dress(const std::string& answer) const {
    switch (source_) {
      case AnswerSource::kTag: return "<answer>" + answer + "</answer>";
      case AnswerSource::kHash: return "#### " + answer;
      case AnswerSource::kPhrase: return "The final answer is " + answer;
      case AnswerSource::kLastNumber:
      case AnswerSource::kWhole: return answer;
      default: return "So we get \\boxed{" + answer + "}.";
    }
  }

  void judge(const MathAnswer& gold, const Completion& completion, bool prefilled, RewardResult& out) const {
    const auto settle = [&](Verdict verdict, std::string_view detail) {
      out.verdict = verdict;
      out.value = verdict == Verdict::kCorrect ? correct_ : wrong_;
      out.detail = detail;
    };
    const AnswerRegion region =
        after_think_ ? after_think(completion.text, prefilled) : AnswerRegion{completion.text, true};
    if (!region.closed) return settle(Verdict::kUnparsed, "think_not_closed");
    const std::string plain = plain_forms(region.text);
    const ExtractedAnswer found = extract_answer(plain, source_);
    if (!found.found) return settle(found.why_not == "several" ? Verdict::kWrong : Verdict::kUnparsed, found.why_not);
    const MathAnswer answer = parse_math_answer(found.text);
    out.columns["answer_parsed"] = to_string(answer);
    out.columns["answer_from"] = found.how;
    if (require_end_ && !ended(completion)) return settle(Verdict::kWrong, "truncated");
    if (several_wrong_) {
      for (const std::string_view other : found.others) {
        if (!compare_math(answer, parse_math_answer(other), compare_).equal)
          return settle(Verdict::kWrong, "several_boxes");
      }
    }
    const MathComparison comparison = compare_math(gold, answer, compare_);
    settle(comparison.equal ? Verdict::kCorrect : Verdict::kWrong, comparison.why);
  }

  AnswerSource source_;
  bool require_end_, after_think_, several_wrong_;
  MathCompareOptions compare_;
  float correct_, wrong_;
};

}  // namespace

std::unique_ptr<RewardFunction> make_math_reward(ConfigReader& options) {
  return std::make_unique<MathReward>(options);
}

}  // namespace r1
