#include "rewards/choice.h"

#include <doctest/doctest.h>

#include "rewards/factory.h"

namespace r1 {
namespace {

Prompt gold(const std::string& letter) {
  Prompt p;
  p.reference = letter;
  p.columns["choices"] = R"(["one quark", "two quarks", "three quarks", "a meson"])";
  return p;
}
RewardResult score(const std::string& options, const std::string& text, const std::string& letter = "C", StopReason stop = StopReason::kEos) {
  SampleGroup group{gold(letter), std::vector<Completion>(1)};
  group.completions[0].text = text;
  group.completions[0].stop = stop;
  std::vector<RewardResult> out(1);
  make_reward("choice", options)->score(group, out);
  return out[0];
}

TEST_CASE("where the chosen letter stands") {
  for (const char* text : {"Answer: C", "answer: C.", "**Answer: C**", "Answer: **C**", "The correct answer is (C).", "The answer is C",
                           "The final answer is: $\\boxed{C}$", "\\boxed{C}", "\\boxed{\\text{C}}", "\\boxed{(C)}", "<answer>C</answer>",
                           "<answer> (C) three quarks</answer>", "ANSWER: C",
                           "\xE7\xAD\x94\xE6\xA1\x88\xEF\xBC\x9A"
                           "C",
                           "\xE7\xAD\x94\xE6\xA1\x88\xE6\x98\xAF(C)", "Answer: B\nNo, wait.\nAnswer: C", "Answer: option C", "Answer: $C$"})
    CHECK_MESSAGE(chosen_letter(text, 4, false) == 'C', text);
  for (const char* text : {"", "C", "I choose C", "Answer: E", "Answer: Carbon", "The answer is A proton", "Answers: C", "answer C",
                           "Both A and C hold", "\\boxed{C^2}", "answer: c"})
    CHECK_MESSAGE(chosen_letter(text, 4, false) == 0, text);
  CHECK(chosen_letter("Answer: E", 5, false) == 'E');
  // Loosely: parentheses, bold, a last line of its own; never a bare letter in prose.
  for (const char* text : {"So it must be (C).", "I say **C** here", "thus\nC", "thus\n(C).", "(A) is wrong, so (C)"})
    CHECK_MESSAGE(chosen_letter(text, 4, true) == 'C', text);
  for (const char* text : {"A proton has charge", "C is the speed of light", "", "the\nspeed C here"})
    CHECK_MESSAGE(chosen_letter(text, 4, true) == 0, text);
  CHECK(chosen_letter("Answer: B\nbut (C)", 4, true) == 'B');  // a marked answer outranks a loose one
}

TEST_CASE("the reward: verdicts, think blocks, choices by their text, golds") {
  CHECK(score("{}", "Answer: C").verdict == Verdict::kCorrect);
  CHECK(score("{}", "Answer: C").value == 1.f);
  CHECK(score("{}", "Answer: B").verdict == Verdict::kWrong);
  CHECK(score("{}", "(C)").verdict == Verdict::kUnparsed);
  CHECK(score("{read: any}", "(C)").verdict == Verdict::kCorrect);
  CHECK(score("{}", "<think>Answer: C").detail == "think_not_closed");
  CHECK(score("{}", "<think>Answer: A</think>Answer: C").verdict == Verdict::kCorrect);
  CHECK(score("{require_end: true}", "Answer: C", "C", StopReason::kLength).detail == "truncated");
  CHECK(score("{read: any}", "\\boxed{Three quarks.}").columns.at("answer_parsed") == "C");
  CHECK(score("{}", "\\boxed{three quarks}").verdict == Verdict::kUnparsed);
  CHECK(score("{}", "Answer: C", "X").verdict == Verdict::kAbstain);
  CHECK(make_reward("choice")->check_prompt(gold("D")).empty());
  CHECK(make_reward("choice")->check_prompt(gold("E")).find("no letter from A to D") != std::string::npos);
}

}  // namespace
}  // namespace r1
