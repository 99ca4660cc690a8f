#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "core/error.h"
#include "rewards/audit/auditor.h"
#include "rewards/audit/plain_answer.h"
#include "rewards/code/isolation.h"
#include "rewards/factory.h"

namespace r1 {
namespace {

Completion said(std::string text, StopReason stop = StopReason::kEos) {
  Completion c;
  c.text = std::move(text);
  c.stop = stop;
  return c;
}

Prompt asked(std::string reference) {
  Prompt p;
  p.id = "p";
  p.reference = std::move(reference);
  return p;
}

}  // namespace

TEST_CASE("the plain reader: golds it judges and golds it leaves alone") {
  for (const char* text : {"72", "so it is\n#### 1,234", "\\boxed{-3}", "$5.50", "50%", "3/4", "\\frac{1}{2}", "Paris", "(B)", "7.", "3 1/2"})
    CHECK_MESSAGE(audit::plain_gold(text).has_value(), text);
  for (const char* text : {"", "x^2+1", "\\{1, 2\\}", "(1, 2)", "1 or 2", "\\sqrt{2}", "[1, 2)", "\\frac{\\pi}{2}", "5 apples and 3 pears",
                           "a sentence that is much too long to be an answer in one line"})
    CHECK_FALSE_MESSAGE(audit::plain_gold(text).has_value(), text);
}

TEST_CASE("the plain reader: right and wrong answers") {
  struct Case { const char* gold; const char* completion; bool right; };
  const Case cases[] = {
      {"72", "so \\boxed{72}", true}, {"72", "\\boxed{71} no, \\boxed{72}", true}, {"72", "<think>72</think> 71", false},
      {"72", "<think>71</think><answer>72</answer>", true}, {"72", "<answer>The result: 72.</answer>", true},
      {"72", "The answer is 72 because 8*9 is that", true}, {"72", "The answer is 8 * 9 = 72", true}, {"72", "8*9\n#### 72", true},
      {"72", "37 + 35 = 72.", true}, {"72", "A simple answer, 37 + 35 equals 72.", true}, {"72", "**Answer:** 72", true}, {"72", "72 + 1", false}, {"72", "I do not know", false}, {"72", "<think>72", false},
      {"1234", "1,234", true}, {"1234", "1, 234", false}, {"0.5", "\\dfrac{1}{2}", true}, {"1/3", "0.333", true}, {"1/3", "0.33", false},
      {"-5", "-5", true}, {"-5", "\xE2\x88\x92""5", true}, {"5", "10 - 5", true}, {"5", "it is -5", false}, {"5", "$5.00", true},
      {"3.5", "3 1/2", true}, {"3.5", "3\\frac{1}{2}", true}, {"12345678901234567890123", "12345678901234567890123", true},
      {"12345678901234567890123", "12345678901234567890124", false}, {"72", "\xEF\xBC\x97\xEF\xBC\x92", true}, {"72", "x72", false},
      {"Paris", "The answer is Paris.", true}, {"Paris", "London", false}, {"B", "The answer is (B) 12", true}, {"B", "\\boxed{C}", false},
      {"yes", "I think so.\nYes", true}};
  for (const Case& c : cases) {
    CAPTURE(c.gold);
    CAPTURE(c.completion);
    CHECK(make_answer_check(false)->read(asked(c.gold), said(c.completion)).right == std::optional<bool>(c.right));
  }
}

TEST_CASE("the answer check: prefilled thoughts, cut-off completions, no opinion") {
  Prompt p = asked("2");
  p.text = "question\n<think>\n";
  CHECK(make_answer_check(false)->read(p, said("2")).right == std::optional<bool>(false));
  CHECK(make_answer_check(false)->read(p, said("1</think>2")).right == std::optional<bool>(true));
  const auto strict = make_answer_check(true);
  CHECK(strict->read(asked("2"), said("2", StopReason::kLength)).right == std::optional<bool>(false));
  CHECK(strict->read(asked("2"), said("2", StopReason::kStop)).right == std::optional<bool>(true));
  CHECK_FALSE(strict->read(asked("x+1"), said("x+1")).right.has_value());
}

TEST_CASE("hostile completions cost little and never throw") {
  const auto check = make_answer_check(false);
  for (const char* piece : {"{", "\\boxed{", "\\frac{1}{", "answer ", "1,", "-", "####", "<answer>", "\xEF\xBC", "9"}) {
    std::string text;
    while (text.size() < 200'000) text += piece;
    CHECK(check->read(asked("72"), said(text)).right == std::optional<bool>(false));
  }
}

TEST_CASE("a rubric as the second check, and a planted bug of the first") {
  const Rubric paid = [] {
    std::vector<Rubric::Entry> e(1);
    e[0].reward = make_reward("regex", "{pattern: '[0-9][0-9]$'}");
    e[0].label = "two_digits";
    return Rubric(std::move(e));
  }();
  std::vector<Rubric::Entry> second(1);
  second[0].reward = make_reward("math");
  const std::shared_ptr<const AuditCheck> checks[] = {make_answer_check(false), make_rubric_check(Rubric(std::move(second)))};
  for (const auto& check : checks) {
    SampleGroup g{asked("72"), {said("72"), said("99"), said("no")}};
    std::vector<Score> scores = paid.score(g);
    const float before = scores[1].value;
    CHECK(before == 1.f);  // the bug pays it
    Auditor(check, 1, 0).audit(g, scores);
    CHECK(scores[0].columns.at(audit_column::kVerdict) == "right");
    CHECK(scores[1].columns.at(audit_column::kVerdict) == "wrong");
    CHECK(scores[1].value == before);  // the audit pays nothing
    CHECK(scores[2].columns.at(audit_column::kVerdict) == "wrong");
  }
}

TEST_CASE("code: tests held out of the reward find a program that knows the paid ones") {
  try {
    code::require_isolation();
  } catch (const Error&) {
    MESSAGE("skipped: this host cannot isolate programs");
    return;
  }
  Config config = Config::parse("{limits: {wall_ms: 5000}}", "audit.code");
  ConfigReader options(config);
  const auto check = make_code_check(options);
  options.finish();
  Prompt p = asked("");
  const std::string cheat = "```python\ndef f(x):\n    return {1: 2}.get(x)\n```", honest = "<think>```\nx\n```</think>\n```python\ndef f(x):\n    return x + 1\n```";
  CHECK_FALSE(check->read(p, said(honest)).right.has_value());  // no tests
  p.columns["tests"] = R"J([{"call": "f(1)", "expected": 2}])J";
  CHECK(check->read(p, said(cheat)).right == std::optional<bool>(true));  // the same tests run again: it passes
  p.columns["audit_tests"] = R"J([{"call": "f(7)", "expected": 8}])J";
  CHECK(check->read(p, said(cheat)).right == std::optional<bool>(false));
  CHECK(check->read(p, said(honest)).right == std::optional<bool>(true));
  CHECK(check->read(p, said("no program")).right == std::optional<bool>(false));
}

TEST_CASE("the sample of completions is keyed and of the wanted size") {
  struct Always : AuditCheck {
    std::string_view name() const override { return "always"; }
    AuditReading read(const Prompt&, const Completion&) const override { return {true, "", "", ""}; }
  };
  const auto check = std::make_shared<const Always>();
  const Auditor a(check, 0.3, 7), again(check, 0.3, 7), other(check, 0.3, 8);
  int drawn = 0, differ = 0, next_rollout = 0;
  for (int i = 0; i < 1000; ++i) {
    Prompt p = asked("1");
    p.id = "row-" + std::to_string(i);
    Completion c = said("1"), later = c;
    c.version_runs = {{0, 4, {}}};
    later.version_runs = {{0, 5, {}}};
    for (std::size_t s = 0; s < 10; ++s) {
      drawn += a.samples(p, c, s);
      CHECK(a.samples(p, c, s) == again.samples(p, c, s));
      differ += a.samples(p, c, s) != other.samples(p, c, s);
      next_rollout += a.samples(p, c, s) != a.samples(p, later, s);
    }
  }
  CHECK(std::abs(drawn - 3000) < 200);  // 4 standard deviations are 183
  CHECK(std::abs(differ - 4200) < 200);
  CHECK(std::abs(next_rollout - 4200) < 200);
  CHECK_THROWS_AS(Auditor(check, 1.5, 0), ConfigError);
}

}  // namespace r1
