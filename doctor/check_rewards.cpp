// check_rewards
#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "core/error.h"
#include "core/format.h"
#include "doctor/checks.h"

namespace r1::doctor {
namespace {

constexpr std::size_t kPrompts = 8;

bool applies(const Rubric::Entry& e, const Prompt& p) { return e.tasks.empty() || std::find(e.tasks.begin(), e.tasks.end(), p.task) != e.tasks.end(); }

// Answers that any of the rewards knows, so that one that knows none is tried on them too.
std::vector<KnownAnswer> all_known(const Rubric& rubric, const Prompt& p) {
  std::vector<KnownAnswer> out;
  for (const Rubric::Entry& e : rubric.entries()) {
    if (!applies(e, p)) continue;
    std::vector<KnownAnswer> more = e.reward->known_answers(p);
    std::move(more.begin(), more.end(), std::back_inserter(out));
  }
  return out;
}

const Rubric::Entry* judge_of(const Rubric& rubric, const Prompt& p) {
  const Rubric::Entry* first = nullptr;
  for (const Rubric::Entry& e : rubric.entries()) {
    if (!applies(e, p)) continue;
    if (e.verdict) return &e;
    if (!first && e.reward->judges_answer()) first = &e;
  }
  return first;
}

struct Seen {
  std::size_t tried = 0, abstained = 0;
  std::optional<float> low, high;
};

// Every reward on every known answer; false where one throws.
bool try_all(const Subject& s, const std::vector<const Prompt*>& prompts, std::map<std::string, Seen>& seen, Findings& out) {
  for (const Prompt* p : prompts) {
    const std::vector<KnownAnswer> known = all_known(*s.recipe.rubric, *p);
    if (known.empty()) continue;
    SampleGroup group{*p, {}};
    for (const KnownAnswer& k : known) group.completions.push_back(k.completion);
    for (const Rubric::Entry& e : s.recipe.rubric->entries()) {
      if (!applies(e, *p)) continue;
      std::vector<RewardResult> results(known.size());
      try {
        e.reward->score(group, results);
      } catch (const Error& error) {
        out.error("reward-throws", message(e.label, ", prompt ", p->id, ": ", error.what()), "a run would end here; repair the reward");
        return false;
      }
      Seen& of = seen[e.label];
      for (const RewardResult& r : results) {
        ++of.tried;
        if (!r.value) {
          ++of.abstained;
        } else if (!std::isfinite(*r.value)) {
          out.error("reward-not-finite", message(e.label, ", prompt ", p->id, ": its value is ", *r.value), "a run would end here; return a number, or None to abstain");
          return false;
        } else {
          of.low = std::min(of.low.value_or(*r.value), *r.value);
          of.high = std::max(of.high.value_or(*r.value), *r.value);
        }
      }
    }
  }
  return true;
}

void report_seen(const Subject& s, const std::map<std::string, Seen>& seen, Findings& out) {
  double form = 0, judged = 0;
  for (const Rubric::Entry& e : s.recipe.rubric->entries()) {
    const auto it = seen.find(e.label);
    if (it == seen.end()) continue;
    const Seen& of = it->second;
    if (of.abstained == of.tried) {
      out.error("reward-abstains", message(e.label, " gives no value for any of ", of.tried, " right and wrong answers"), "it takes no part in the sum; does it find its columns?");
      continue;
    }
    const std::string range = message(e.label, ": ", human_number(*of.low), " to ", human_number(*of.high), ", weight ", human_number(e.weight), " on ", of.tried, " known answers");
    if (*of.low == *of.high)
      out.warning("reward-constant", message(range, ": right and wrong answers, tagged and untagged, all get the same"),
                  "a constant teaches nothing: does it read the answers in the form that this template asks for?");
    else out.good("reward", range);
    (e.reward->judges_answer() || e.verdict ? judged : form) += std::abs(e.weight) * static_cast<double>(*of.high - *of.low);
  }
  if (judged > 0 && form > judged)
    out.warning("form-outweighs", message("rewards of form can differ by ", human_number(form), ", those of the answer by ", human_number(judged)),
                "a policy may prefer the form to the answer; lower the weights of the former");
}

// The sum that the advantage sees, on the judge's own right and wrong answers.
void check_sum(const Subject& s, const std::vector<const Prompt*>& prompts, Findings& out) {
  for (const Prompt* p : prompts) {
    const Rubric::Entry* judge = judge_of(*s.recipe.rubric, *p);
    if (!judge) {
      const bool dynamic = s.recipe.trainer.dynamic.enabled;
      out.add(dynamic ? Level::kError : Level::kWarning, "no-verdict", "no reward judges the answer, so nothing says what is right: accuracy and pass@k stay 0",
              dynamic ? "dynamic sampling would keep groups that differ in form alone; add math, code or another judge, or let your own give verdicts (a Python function pays numbers alone)"
                      : "add math, code or another judge, or let your own give verdicts (a Python function pays numbers alone)");
      return;
    }
    if (judge->weight <= 0)
      out.error("verdict-unpaid", message(judge->label, " decides what is right, but its weight is ", human_number(judge->weight)), "give it a weight above 0");
    SampleGroup group{*p, {}};
    std::vector<bool> right;
    for (const KnownAnswer& k : judge->reward->known_answers(*p)) {
      if (k.verdict != Verdict::kCorrect && k.verdict != Verdict::kWrong) continue;
      group.completions.push_back(k.completion);
      right.push_back(k.verdict == Verdict::kCorrect);
    }
    if (group.completions.empty()) return;
    const std::vector<Score> scores = s.recipe.rubric->score(group);
    for (std::size_t i = 0; i < scores.size(); ++i)
      for (std::size_t j = 0; j < scores.size(); ++j)
        if (right[i] && !right[j] && scores[i].value <= scores[j].value) {
          out.error("wrong-answer-paid", message("prompt ", p->id, ": the wrong answer '", group.completions[j].text.substr(0, 80), "' earns ", human_number(scores[j].value),
                                                 ", the right one '", group.completions[i].text.substr(0, 80), "' ", human_number(scores[i].value)),
                    "look at the signs of the weights");
          return;
        }
    if (judge->weight <= 0) return;
  }
}

// Whether the prompt says in which form the rewards read an answer.
void check_form(const Subject& s, const Prompt& p, Findings& out) {
  const auto asks = [&](const char* what) { return p.text.find(what) != std::string::npos; };
  for (const Rubric::Entry& e : s.recipe.rubric->entries()) {
    const std::string name(e.reward->name());
    if (applies(e, p) && (name == "format" || name == "tag_count") && !asks("<think>"))
      out.warning("format-not-asked", message(e.label, " pays for <think> and <answer>, but the prompt does not speak of them"),
                  "an instruct model hardly ever writes them by itself: ask for them in data.system_prompt, or use data.template: r1_zero");
  }
  const Rubric::Entry* judge = judge_of(*s.recipe.rubric, p);
  if (!judge) return;
  const std::vector<KnownAnswer> known = judge->reward->known_answers(p);
  if (known.empty() || known[0].verdict != Verdict::kCorrect) return;
  for (const auto& [form, mark] : {std::pair("\\boxed{", "boxed"), std::pair("<answer>", "<answer>"), std::pair("####", "####")}) {
    if (known[0].completion.text.find(form) == std::string::npos || asks(mark)) continue;
    // A judge that reads plain sentences too needs no form.
    SampleGroup plain{p, {known[0].completion}};
    plain.completions[0].text = (p.text.ends_with("<think>\n") || p.text.ends_with("<think>") ? "working</think>" : "") + std::string("The answer is ") + p.reference + ".";
    std::vector<RewardResult> result(1);
    judge->reward->score(plain, result);
    if (result[0].verdict != Verdict::kCorrect)
      out.warning("answer-form-not-asked", message(judge->label, " reads the answer from ", form, ", but the prompt does not ask for it"),
                  "say so in data.instruction ('put your final answer within \\boxed{}'), or choose another extract:");
  }
}

}  // namespace

std::vector<const Prompt*> spread(std::span<const Prompt> prompts, std::size_t count) {
  std::vector<const Prompt*> out;
  const std::size_t n = std::min(count, prompts.size());
  for (std::size_t i = 0; i < n; ++i) out.push_back(&prompts[i * prompts.size() / n]);
  return out;
}

void check_rewards(const Subject& s, Findings& out) {
  out.section("rewards");
  const std::vector<const Prompt*> prompts = spread(s.prompts, kPrompts);
  if (prompts.empty()) return;
  std::map<std::string, Seen> seen;
  if (!try_all(s, prompts, seen, out)) return;
  std::size_t known = 0;
  std::vector<std::string> failures;
  for (const Prompt* p : prompts) {
    known += s.recipe.rubric->count_known_answers(*p);
    std::vector<std::string> more = s.recipe.rubric->self_test(*p);
    std::move(more.begin(), more.end(), std::back_inserter(failures));
  }
  if (!failures.empty())
    out.error("reward-self-test", message(failures.size(), " of ", known, " known answers are judged wrongly, the first: ", failures.front()),
              "this reward cannot read what it is to judge: look at its options and the gold column");
  else if (known > 0) out.good("self-test", message(known, " known right and wrong answers of ", prompts.size(), " prompts are judged as they should be"));
  for (const Rubric::Entry& e : s.recipe.rubric->entries())
    if (!seen.contains(e.label))
      out.note("no-known-answers", message(e.label, " names no known right and wrong answers, and no other reward does: it was not tried"), "look at a few samples of it early in the run");
  report_seen(s, seen, out);
  check_sum(s, prompts, out);
  check_form(s, *prompts.front(), out);
}

}  // namespace r1::doctor
