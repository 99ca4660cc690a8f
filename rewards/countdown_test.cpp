#include "rewards/countdown.h"

#include <chrono>
#include <string>

#include <doctest/doctest.h>

#include "rewards/expression.h"
#include "rewards/factory.h"

namespace r1 {
namespace {

std::string value(std::string_view text) {
  const Expression e = evaluate_expression(text);
  return e.ok ? e.value.get_str() : std::string(e.why);
}

TEST_CASE("expressions are exact") {
  CHECK(value("1+2*3") == "7");
  CHECK(value("(1+2)*3") == "9");
  CHECK(value("8/3/2") == "4/3");
  CHECK(value("10-4-3") == "3");
  CHECK(value("1/3*3") == "1");
  CHECK(value("-(2-5)") == "3");
  CHECK(value("--2") == "2");
  CHECK(value("2 \\times 3 \\div 4") == "3/2");
  CHECK(value("[1 + 2] * \\left(3\\right)") == "9");
  CHECK(value("007") == "7");
  CHECK(value("1/(2-2)") == "division_by_zero");
  for (const char* bad : {"", "1+", "(1", "1)", "2**3", "2^3", "2(3)", "1.5", "1 2", "x", "7//2", "1=1", "import os",
                          "1e3", "()", "0x10", "1,000"}) {
    CAPTURE(bad);
    CHECK(value(bad) == "syntax");
  }
  CHECK(value(std::string(101, '(') + "1" + std::string(101, ')')) == "too_deep");
  CHECK(value(std::string(100, '(') + "1" + std::string(100, ')')) == "1");
  CHECK(value(std::string(19, '9')) == "too_long");
  CHECK(value("1" + std::string(1000, ' ')) == "too_long");
}

Prompt task(const std::string& numbers = "[4, 24, 18]", const std::string& target = "46") {
  Prompt p;
  p.id = "c";
  p.columns = {{"numbers", numbers}, {"target", target}};
  return p;
}

RewardResult score(const std::string& text, const std::string& options = "{}", const Prompt& prompt = task(),
                   StopReason stop = StopReason::kEos) {
  SampleGroup group{prompt, std::vector<Completion>(1)};
  group.completions[0].text = text;
  group.completions[0].stop = stop;
  std::vector<RewardResult> out(1);
  make_reward("countdown", options)->score(group, out);
  return out[0];
}

TEST_CASE("right answers in every dress") {
  for (const char* text :
       {"<answer>(24 + 18) + 4</answer>", "<answer>24+18+4 = 46</answer>", "<answer>46 = 24+18+4</answer>",
        "<answer> $24 + 18 + 4$ </answer>", "<answer>\\boxed{24+18+4}</answer>",
        "<think>24*18 is too much</think><answer>18+24+4</answer>", "So it is (24 + 18) + 4 = 46.",
        "We try 24 * 4 first.\nThen: 24 + 18 + 4\nDone.", "\\boxed{4 + 18 + 24}", "24 + 18 + 4 = 46",
        "<answer>24 \u2212 (0\u22120) </answer>", "<answer>1</answer> no: <answer>4+18+24</answer>"}) {
    CAPTURE(text);
    const bool zero = std::string(text).find("(0") != std::string::npos;  // uses numbers that were not given
    CHECK(score(text).verdict == (zero ? Verdict::kWrong : Verdict::kCorrect));
  }
  CHECK(score("<answer>18\u00D74\u221224</answer>", "{}", task("[4, 24, 18]", "48")).verdict == Verdict::kCorrect);
  CHECK(score("<answer>8\u00F7(3\u22128\u00F73)</answer>", "{}", task("[8, 3, 8, 3]", "24")).verdict ==
        Verdict::kCorrect);  // needs fractions
  CHECK(score("<answer>8/(3-8/3)</answer>", "{}", task("[\"8\", \"3\", \"8\", \"3\"]", "\"24\"")).verdict ==
        Verdict::kCorrect);
  Prompt nums = task();
  nums.columns["nums"] = nums.columns["numbers"];
  nums.columns.erase("numbers");
  CHECK(score("<answer>24+18+4</answer>", "{}", nums).verdict == Verdict::kCorrect);
}

TEST_CASE("wrong, absent and partial answers") {
  const auto expect = [](const RewardResult& r, Verdict verdict, float value, const std::string& why) {
    CHECK(r.verdict == verdict);
    CHECK(r.value == value);
    CHECK(r.detail == why);
  };
  expect(score("<answer>24+18+4</answer>"), Verdict::kCorrect, 1.f, "ok");
  expect(score("<answer>24+18-4</answer>"), Verdict::kWrong, 0.1f, "value");
  expect(score("<answer>24+18</answer>"), Verdict::kWrong, 0.1f, "numbers");
  expect(score("<answer>24+18+4+0</answer>"), Verdict::kWrong, 0.1f, "numbers");
  expect(score("<answer>24+18+4+4-4</answer>"), Verdict::kWrong, 0.1f, "numbers");
  expect(score("<answer>46</answer>"), Verdict::kWrong, 0.1f, "numbers");
  expect(score("<answer>24+18+4 = 47</answer>"), Verdict::kWrong, 0.1f, "value");
  expect(score("<answer>I think 24+18+4</answer>"), Verdict::kWrong, 0.1f, "syntax");
  expect(score("<answer>24+18-4 = 46</answer>"), Verdict::kWrong, 0.1f, "value");
  expect(score("<answer>24+18+4 if 1 else 0</answer>"), Verdict::kWrong, 0.1f, "syntax");
  expect(score("<answer></answer>"), Verdict::kUnparsed, 0.f, "no_answer");
  expect(score("I do not know"), Verdict::kUnparsed, 0.f, "no_answer");
  expect(score("24+18+4 = 46", "{read: tag}"), Verdict::kUnparsed, 0.f, "no_answer");
  expect(score("<think>24+18+4 = 46"), Verdict::kUnparsed, 0.f, "think_not_closed");
  expect(score("<answer>24+18-4</answer>", "{wrong: 0}"), Verdict::kWrong, 0.f, "value");
  expect(score("<answer>24+18+4</answer>", "{require_end: true}", task(), StopReason::kLength), Verdict::kWrong, 0.f,
         "truncated");
  CHECK(score("<answer>24+18+4</answer>").columns["answer_parsed"] == "24+18+4");
}

TEST_CASE("hostile answers are quick and wrong") {
  const std::string deep = std::string(500'000, '(') + "1" + std::string(500'000, ')');
  for (const std::string& text :
       {std::string("9**9**9"), std::string("9^9^9^9"), deep, std::string(1'000'000, '9'),
        std::string("__import__('os').system('ls')"), std::string("24+18+4**1"), std::string("1/0"),
        std::string("24+18+4^1"), std::string("0b1"), std::string(1'000'000, '='), std::string(900, '-') + "46"}) {
    CAPTURE(text.substr(0, 20));
    const auto start = std::chrono::steady_clock::now();
    for (const std::string& dressed : {"<answer>" + text + "</answer>", text, "\\boxed{" + text + "}"}) {
      const RewardResult r = score(dressed);
      CHECK(r.verdict != Verdict::kCorrect);
    }
    CHECK(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() < 1.0);
  }
}

TEST_CASE("unusable rows are reported and abstain") {
  const auto reward = make_reward("countdown");
  CHECK(reward->check_prompt(task()).empty());
  Prompt p = task();
  p.columns.erase("target");
  CHECK(reward->check_prompt(p) == "column 'target' is missing");
  CHECK_FALSE(score("<answer>24+18+4</answer>", "{}", p).value.has_value());
  CHECK(reward->check_prompt(task("[]")).find("whole numbers") != std::string::npos);
  CHECK(reward->check_prompt(task("[1.5, 2]")).find("whole numbers") != std::string::npos);
  CHECK(reward->check_prompt(task("[1, 2]", "\"x\"")).find("target") != std::string::npos);
  CHECK(reward->check_prompt(Prompt{}).find("numbers") != std::string::npos);
}

}  // namespace
}  // namespace r1
