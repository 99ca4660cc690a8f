#include "rewards/countdown.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "rewards/answer_extract.h"
#include "rewards/answer_text.h"
#include "rewards/completion_text.h"
#include "rewards/expression.h"

namespace r1 {
namespace {

// A whole number of a data column, written as a number or as text; "" if it is none.
std::string whole_number(const nlohmann::json& value) {
  std::string text = value.is_string() ? value.get<std::string>() : value.is_number_integer() ? value.dump() : "";
  const std::size_t sign = text.starts_with('-') ? 1 : 0;
  if (text.size() == sign || text.size() > kMaxExpressionDigits) return {};
  if (text.find_first_not_of("0123456789", sign) != std::string::npos) return {};
  return text;
}

// The stretch of a line that looks like arithmetic, the last one with a digit and an operator after an operand; empty
// if none.
std::string_view arithmetic_run(std::string_view line) {
  static constexpr std::string_view kCharacters = "0123456789+-*/()[]=^. ";  // ^ and . make it wrong, not shorter
  std::string_view best;
  for (std::size_t i = 0; i < line.size();) {
    if (kCharacters.find(line[i]) == std::string_view::npos) {
      ++i;
      continue;
    }
    std::size_t end = i;
    while (end < line.size() && kCharacters.find(line[end]) != std::string_view::npos) ++end;
    std::string_view run = trim(line.substr(i, end - i));
    while (run.ends_with('.') || run.ends_with(' ')) run.remove_suffix(1);
    const std::size_t digit = run.find_first_of("0123456789");
    if (digit != std::string_view::npos && run.find_first_of("+-*/", digit) != std::string_view::npos) best = run;
    i = end;
  }
  return best;
}

std::string_view last_expression(std::string_view text) {
  while (!text.empty()) {
    const std::size_t line = text.rfind('\n');
    const std::string_view run = arithmetic_run(line == std::string_view::npos ? text : text.substr(line + 1));
    if (!run.empty()) return run;
    if (line == std::string_view::npos) break;
    text = text.substr(0, line);
  }
  return {};
}

class CountdownReward : public RewardFunction {
 public:
  explicit CountdownReward(ConfigReader& o) {
    tag_only_ = o.get_choice("read", "auto", std::vector<std::string>{"auto", "tag"}) == "tag";
    correct_ = o.get_in<float>("correct", 1.f, -1e6f, 1e6f);
    wrong_ = o.get_in<float>("wrong", 0.1f, -1e6f, 1e6f);
    if (wrong_ >= correct_) o.fail("wrong", message("must be smaller than correct (", correct_, ")"));
    after_think_ = o.get<bool>("after_think", true);
    require_end_ = o.get<bool>("require_end", false);
  }
  std::string_view name() const override { return "countdown"; }
  bool judges_answer() const override { return true; }

  std::string check_prompt(const Prompt& prompt) const override {
    std::string error;
    countdown_task(prompt, error);
    return error;
  }

  void score(const SampleGroup& group, std::span<RewardResult> out) const override {
    std::string error;
    const auto task = countdown_task(group.prompt, error);
    const bool prefilled = prompt_opens_think(group.prompt);
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (!task) {
        out[i].detail = error;  // abstains
        continue;
      }
      const Completion& c = group.completions[i];
      const AnswerRegion region = after_think_ ? after_think(c.text, prefilled) : AnswerRegion{c.text, true};
      CountdownVerdict v = judge_countdown(region.text, *task, tag_only_);
      if (!region.closed) v.why = "think_not_closed";
      const bool cut = require_end_ && !ended(c) && v.verdict != Verdict::kUnparsed;
      if (cut) v.verdict = Verdict::kWrong, v.why = "truncated";
      out[i].verdict = v.verdict;
      out[i].value = v.verdict == Verdict::kCorrect ? correct_ : v.verdict == Verdict::kUnparsed || cut ? 0.f : wrong_;
      out[i].detail = v.why;
      out[i].columns["answer_parsed"] = v.expression;
      out[i].columns["gold_parsed"] = task->target;
    }
  }

  // The bad answers only, and the good one where the data hold a solution.
  std::vector<KnownAnswer> known_answers(const Prompt& prompt) const override {
    std::string error;
    const auto task = countdown_task(prompt, error);
    if (!task) return {};
    const std::string think = prompt_opens_think(prompt) ? "working</think>" : "";
    const auto make = [&](std::string what, const std::string& text, Verdict verdict, float value) {
      Completion c;
      c.text = think + text;
      c.stop = StopReason::kEos;
      return KnownAnswer{std::move(what), std::move(c), verdict, value};
    };
    std::vector<KnownAnswer> known = {
        make("the target itself", "<answer>" + task->target + " + 0</answer>", Verdict::kWrong, wrong_),
        make("no expression", "I do not know.", Verdict::kUnparsed, 0),
        make("a power tower", "<answer>9**9**9**9</answer>", Verdict::kWrong, wrong_)};
    if (const auto it = prompt.columns.find("solution"); it != prompt.columns.end()) {
      const auto json = nlohmann::json::parse(it->second, nullptr, false);
      if (json.is_string())
        known.push_back(make("the solution column", "<answer>" + json.get<std::string>() + "</answer>",
                             Verdict::kCorrect, correct_));
    }
    return known;
  }

 private:
  bool tag_only_, after_think_, require_end_;
  float correct_, wrong_;
};

}  // namespace

std::optional<CountdownTask> countdown_task(const Prompt& prompt, std::string& error) {
  auto it = prompt.columns.find("numbers");
  if (it == prompt.columns.end()) it = prompt.columns.find("nums");
  const auto target = prompt.columns.find("target");
  if (it == prompt.columns.end() || target == prompt.columns.end()) {
    error = it == prompt.columns.end() ? "column 'numbers' (or 'nums') is missing" : "column 'target' is missing";
    return std::nullopt;
  }
  CountdownTask task;
  const auto numbers = nlohmann::json::parse(it->second, nullptr, false);
  if (numbers.is_array()) {
    for (const auto& n : numbers) task.numbers.push_back(whole_number(n));
  }
  const bool bad = std::any_of(task.numbers.begin(), task.numbers.end(),
                               [](const std::string& n) { return n.empty() || n[0] == '-'; });
  if (task.numbers.empty() || bad) {
    error = message("column '", it->first, "' must be a list of whole numbers, not ", it->second.substr(0, 60));
    return std::nullopt;
  }
  task.target = whole_number(nlohmann::json::parse(target->second, nullptr, false));
  if (task.target.empty()) {
    error = message("column 'target' must be a whole number, not ", target->second.substr(0, 60));
    return std::nullopt;
  }
  std::sort(task.numbers.begin(), task.numbers.end());
  return task;
}

CountdownVerdict judge_countdown(std::string_view completion, const CountdownTask& task, bool tag_only) {
  const TaggedAnswer tag = last_answer_tag(completion);
  std::string text;
  if (tag.found) {
    text = clean_answer(plain_forms(tag.text));
  } else if (!tag_only) {
    const std::string plain = plain_forms(completion);
    const auto boxes = boxed_contents(plain);
    text = boxes.empty() ? std::string(last_expression(plain)) : clean_answer(boxes.back());
  }
  if (text.empty()) return {Verdict::kUnparsed, "no_answer", {}};
  CountdownVerdict out{Verdict::kWrong, "numbers", text.substr(0, 200)};
  if (text.size() > kMaxExpressionBytes) return out.why = "too_long", out;
  const mpq_class target{mpz_class(task.target, 10)};
  bool used = false, equal = true;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find('=', begin), text.size());
    Expression side = evaluate_expression(std::string_view(text).substr(begin, end - begin));
    if (!side.ok) return out.why = side.why, out;
    std::sort(side.numbers.begin(), side.numbers.end());
    used = used || side.numbers == task.numbers;
    equal = equal && side.value == target;
    begin = end + 1;
  }
  if (!used) return out;
  out.why = equal ? "ok" : "value";
  out.verdict = equal ? Verdict::kCorrect : Verdict::kWrong;
  return out;
}

std::unique_ptr<RewardFunction> make_countdown_reward(ConfigReader& options) {
  return std::make_unique<CountdownReward>(options);
}

}  // namespace r1
