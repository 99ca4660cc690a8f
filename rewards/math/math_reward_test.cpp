#include "rewards/math/math_reward.h"

#include <chrono>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "core/error.h"
#include "rewards/answer_text.h"
#include "rewards/completion_text.h"
#include "rewards/answer_extract.h"
#include "rewards/factory.h"
#include "rewards/math/check.h"
#include "rewards/number.h"

namespace r1 {
namespace {

std::string read_number(std::string_view text) {
  const auto n = parse_number(clean_answer(plain_forms(text)));
  return n ? to_string(*n) : "none";
}

TEST_CASE("numbers as people write them") {
  // clang-format off
  const std::vector<std::pair<const char*, const char*>> cases = {
      {"42", "42"}, {"+42", "42"}, {"-42", "-42"}, {"\u221242", "-42"}, {"- 42", "-42"}, {"042", "42"},
      {"42.", "42"}, {"(42)", "42"},
      {"1,234", "1234"}, {"1{,}234", "1234"}, {"1,234,567", "1234567"}, {"10,\\!000", "10000"},
      {"10\\,000", "10000"}, {"111, \\! 111, \\! 111", "111111111"}, {"1,23", "none"},
      {"1,2345", "none"}, {"0.5", "1/2"}, {".5", "1/2"}, {"0.50", "1/2"}, {"1,234.5", "2469/2"}, {"3.", "3"},
      {"1.2.3", "none"},
      {"3/4", "3/4"}, {"-3/4", "-3/4"}, {"3 / 4", "3/4"}, {"6/8", "3/4"}, {"3/0", "none"}, {"3/4/5", "none"},
      {"\\frac{3}{4}", "3/4"}, {"\\dfrac{3}{4}", "3/4"}, {"\\frac34", "3/4"}, {"\\frac 97", "9/7"},
      {"-\\frac{3}{4}", "-3/4"},
      {"\\frac{-3}{4}", "-3/4"}, {"\\frac{3}{0}", "none"}, {"\\frac{x}{2}", "none"}, {"\\frac{10}{4}", "5/2"},
      {"\\frac{1,000}{3}", "1000/3"},
      {"1 1/2", "3/2"}, {"-1 1/2", "-3/2"}, {"1\\frac{1}{2}", "3/2"}, {"1 \\frac12", "3/2"},
      {"2\\frac{3}{2}", "none"}, {"1\u00BD", "3/2"},
      {"1.5e3", "1500"}, {"1.5E-3", "3/2000"}, {"1.5 \\times 10^{3}", "1500"}, {"1.5\u00D710^3", "1500"},
      {"1.5\u00D710\u00B3", "1500"},
      {"3 \\cdot 10^{-2}", "3/100"}, {"10^{-2}", "1/100"}, {"2^{10}", "1024"}, {"2^10", "1024"},
      {"2^{x}", "none"}, {"9^{9999}", "none"},
      {"1e99999", "none"}, {"0.\\overline{3}", "1/3"}, {"0.1\\overline{6}", "1/6"},
      {"$42", "42 usd"}, {"\\$42", "42 usd"}, {"-$42", "-42 usd"}, {"$-42", "-42 usd"}, {"$42$", "42"},
      {"\u20AC5", "5 eur"}, {"$1,234.50", "2469/2 usd"},
      {"50%", "50%"}, {"50\\%", "50%"}, {"50 percent", "50%"}, {"\\text{50 percent}", "50%"}, {"12.5\\%", "25/2%"},
      {"5 cm", "5 cm"}, {"5\\text{ cm}", "5 cm"}, {"5\\,\\mathrm{cm}", "5 cm"}, {"5cm", "5 cm"}, {"4t", "none"},
      {"3s^2", "none"}, {"5 m", "5 m"}, {"5 centimeters", "5 cm"}, {"5 cm^2", "5 cm^2"},
      {"5\\text{ cm}^2", "5 cm^2"}, {"5 square cm", "5 cm^2"}, {"135\\text{ square feet}", "135 ft^2"},
      {"60 miles per hour", "60 mi/h"}, {"60 km/h", "60 km/h"},
      {"90^\\circ", "90 deg"}, {"90\u00B0", "90 deg"}, {"90 degrees", "90 deg"}, {"8\\text{ meals}", "8"},
      {"42 red apples", "42"}, {"45 \\text{ units}^2", "45 unit^2"}, {"45 units", "45"},
      {"9\\text{ a.m.}", "9 am"}, {"82-year-old", "82"},
      {"5 million", "5000000"}, {"1.5 million dollars", "1500000 usd"}, {"21st", "21"}, {"3\u4E07", "30000"},
      {"42\u4E2A", "42"},
      {"\uFF14\uFF12", "42"}, {"\uFF0D\uFF14\uFF12\uFF0E\uFF15", "-85/2"}, {"\u0664\u0662", "42"},
      {"1\uFF0C234", "1234"}, {"4\u200B2", "42"},
      {"**42**", "42"}, {"\\textbf{42}", "42"}, {"\\(42\\)", "42"}, {"\\left(42\\right)", "42"},
      // None of these is one number.
      {"", "none"}, {"x", "none"}, {"2x", "none"}, {"5 x", "none"}, {"4\\sqrt{2}", "none"}, {"\\sqrt2", "none"},
      {"2\\pi", "none"}, {"1-\\sqrt{2}", "none"},
      {"12 or 13", "none"}, {"12, 13", "none"}, {"(1, 2)", "none"}, {"5!", "none"}, {"5 squared", "none"},
      {"101_2", "none"}, {"3:30", "none"},
      {"1/2^99", "none"}, {"37+45", "none"}, {"10 - 5", "none"}, {"5k", "none"}, {"--5", "none"}, {"1e", "none"},
      {"5 pi", "none"}, {"\\frac{1}{2", "none"},
      {"[0,1]", "none"}, {"\\infty", "none"}, {"2*3", "none"}, {"5 and a half", "none"}, {"-", "none"},
      {".", "none"}, {"$", "none"},
  };
  // clang-format on
  for (const auto& [text, want] : cases) {
    CAPTURE(text);
    CHECK(read_number(text) == want);
  }
}

TEST_CASE("numbers of any size stay exact; beyond the limit they are text") {
  const std::string big(300, '7');
  CHECK(parse_number(big)->value == mpq_class(mpz_class(big)));
  CHECK(read_number(std::string(1001, '7')) == "none");
  const std::string huge(5000, '7');
  CHECK(math::check(huge, huge).outcome == math::Outcome::kEqual);
  CHECK(math::check(huge, huge + "1").outcome != math::Outcome::kEqual);
  CHECK(math::check(big, big.substr(1) + "8").outcome == math::Outcome::kDifferent);
  CHECK(math::check("9007199254740993", "9007199254740992").outcome == math::Outcome::kDifferent);  // equal as doubles
}

bool equal(const char* gold, const char* answer, const math::CheckOptions& options = {}) {
  return math::check(*math::read_gold(gold), math::read_answer(plain_forms(answer)), options).outcome ==
         math::Outcome::kEqual;
}

TEST_CASE("comparison: numbers") {
  CHECK(equal("0.5", "1/2"));
  CHECK(equal("1/2", "0.5"));
  CHECK(equal("\\frac{1}{2}", "0.50"));
  CHECK(equal("10{,}000", "10000"));
  CHECK(equal("3", "3.0"));
  CHECK_FALSE(equal("3", "3.01"));
  CHECK_FALSE(equal("18", "-18"));
  CHECK_FALSE(equal("1/3", "1/4"));
  CHECK(equal("82", "37 + 45 = 82"));
  CHECK(equal("5", "x = 5"));
  CHECK(equal("x=5", "5"));
  CHECK(equal("x=5", "x = 5"));
  CHECK_FALSE(equal("x=5", "y = 5"));
  CHECK_FALSE(equal("5", "4 = 5"));
  CHECK(equal("82", "m+n = 82"));
  CHECK(equal("9", "f(3) = 9"));
  CHECK_FALSE(equal("0", "x^2 - 4 = 0"));
  CHECK_FALSE(equal("0", "2x + y = 0"));
  CHECK_FALSE(equal("x+y=0", "2x+y=0"));
}

TEST_CASE("comparison: decimals against exact values") {
  CHECK(equal("1/3", "0.333"));
  CHECK(equal("1/3", "0.3333333"));
  CHECK_FALSE(equal("1/3", "0.33"));   // two digits are too few
  CHECK_FALSE(equal("2/3", "0.666"));  // cut, not rounded
  CHECK(equal("2/3", "0.667"));
  CHECK(equal("100/3", "33.3"));
  CHECK(equal("33.3", "100/3"));
  CHECK_FALSE(equal("100/3", "33"));
  CHECK_FALSE(equal("100/3", "34.0"));
  CHECK_FALSE(equal("3.14", "3.14159"));  // two decimals must be equal
  CHECK_FALSE(equal("100000", "99999.9999"));
  CHECK_FALSE(equal("1/3", "0.334"));
  math::CheckOptions strict;
  strict.rounding_digits = 0;
  CHECK_FALSE(equal("1/3", "0.3333333333", strict));
  CHECK(equal("1/8", "0.125", strict));
  math::CheckOptions two;
  two.rounding_digits = 2;
  CHECK(equal("1/3", "0.33", two));
}

TEST_CASE("comparison: percent and units") {
  CHECK(equal("50", "50%"));
  CHECK(equal("50\\%", "50"));
  CHECK_FALSE(equal("0.5", "50%"));
  math::CheckOptions fraction;
  fraction.percent = math::PercentRule::kFraction;
  CHECK(equal("0.5", "50%", fraction));
  CHECK(equal("50\\%", "1/2", fraction));
  CHECK_FALSE(equal("50", "50%", fraction));
  CHECK(equal("1/3", "33.3%", fraction));
  CHECK(equal("5", "5 cm"));
  CHECK(equal("5 cm", "5"));
  CHECK(equal("5 cm", "5 centimetres"));
  CHECK_FALSE(equal("5 cm", "5 m"));
  CHECK_FALSE(equal("5 cm", "5 cm^2"));
  CHECK_FALSE(equal("$5", "5 cents"));
  CHECK(equal("$5", "5 dollars"));
  CHECK(equal("12 inches", "12 in"));
  CHECK(equal("45 \\text{ units}^2", "45 cm^2"));
  CHECK_FALSE(equal("45 \\text{ units}^2", "45 cm^3"));
  CHECK(equal("42 apples", "42 oranges"));  // unknown words do not count
  math::CheckOptions any;
  any.units = math::UnitRule::kIgnore;
  CHECK(equal("5 cm", "5 m", any));
}

TEST_CASE("comparison: text") {
  CHECK(equal("\\text{Evelyn}", "evelyn"));
  CHECK(equal("\\text{(C)}", "C"));
  CHECK_FALSE(equal("A", "a"));
  CHECK_FALSE(equal("A", "B"));
  CHECK(equal("\\frac{\\sqrt3}{2}", "\\dfrac{\\sqrt{3}}{2}"));
  CHECK(equal("x^2+1", "x^{2} + 1"));
  CHECK(equal("\\frac{a^2}b", "\\frac{a^{2}}{b}"));
  CHECK(equal("\\left( 3, \\frac{\\pi}{2} \\right)", "(3,\\frac{\\pi}{2})"));
  CHECK_FALSE(equal("(1, 2)", "(2, 1)"));
  CHECK_FALSE(equal("4", "4\\sqrt{2}"));
  CHECK_FALSE(equal("4\\sqrt{2}", "4"));
  CHECK_FALSE(equal("2", "x^2"));
  CHECK_FALSE(equal("x", "X"));
  CHECK_FALSE(equal("\\sqrt{ab}", "\\sqrt{a}b"));
  CHECK_FALSE(equal("3\\sqrt2", "\\sqrt{32}=3\\sqrt2"));  // a false statement, not a name and its value
  CHECK(equal("3\\sqrt2", "\\alpha_1 = 3\\sqrt2"));
}

std::string extracted(std::string_view text, AnswerSource source = AnswerSource::kAuto) {
  const ExtractedAnswer e = extract_answer(text, source);
  return e.found ? std::string(e.how) + ":" + std::string(e.text) : std::string(e.why_not);
}

TEST_CASE("where the answer stands") {
  CHECK(extracted("so \\boxed{42}.") == "boxed:42");
  CHECK(extracted("\\boxed{\\frac{1}{2}} and 7 more") == "boxed:\\frac{1}{2}");
  CHECK(extracted("\\fbox{3}") == "boxed:3");
  CHECK(extracted("\\boxed {3}") == "boxed:3");
  CHECK(extracted("\\boxed{\\boxed{5}}") == "boxed:\\boxed{5}");
  CHECK(extracted("\\boxed{5 and \\boxed{6}") == "boxed:6");      // the outer one is not closed
  CHECK(extracted("\\boxed{\\{1, 2\\}}") == "boxed:\\{1, 2\\}");  // escaped braces do not count
  CHECK(extracted("it is 7 \\boxed{oops") == "number:7");
  CHECK(extracted("16 - 3 = 13\n#### 13") == "hash:13");
  CHECK(extracted("#### Step 1\nadd: 37 + 45 = 82") == "number:82");  // a markdown heading
  CHECK(extracted("The final answer is 42.") == "phrase:42");
  CHECK(extracted("The answer is $\\frac{1}{2}$ because 3 of 6 fit.") == "phrase:\\frac{1}{2}");
  CHECK(extracted("**Answer:** 42 apples") == "phrase:42 apples");
  CHECK(extracted("The answer is 42 because 40 + 2 = 42 and 7 is prime") == "phrase:42");
  CHECK(extracted("The answer is 37 + 45 = 82.") == "phrase:82");
  CHECK(extracted("The answer is Evelyn. She has 5.") == "phrase:Evelyn");
  CHECK(extracted("\u6700\u7EC8\u7B54\u6848\u662F 42") == "phrase:42");
  CHECK(extracted("The answer is 12 or 13.") == "several");
  CHECK(extracted("x <answer> 42 </answer> 7") == "tag:42");
  CHECK(extracted("<answer>so 40 + 2 = 42</answer>") == "number:42");
  CHECK(extracted("\\boxed{1} <answer>The answer is \\boxed{2}</answer>") == "boxed:2");
  CHECK(extracted("<answer></answer> 42") == "empty");
  CHECK(extracted("<answer>Evelyn</answer>") == "tag:Evelyn");
  CHECK(extracted("<answer>12 or 13</answer>") == "several");
  CHECK(extracted("so $x = 5$ holds") == "math:x = 5");
  CHECK(extracted("we see $4\\sqrt{2}$") == "math:4\\sqrt{2}");
  CHECK(extracted("$5 and $6") == "number:$6");
  CHECK(extracted("no numbers here") == "no_answer");
  CHECK(extracted("") == "no_answer");
  CHECK(extracted("\\boxed{1} 2", AnswerSource::kLastNumber) == "number:2");
  CHECK(extracted("#### Paris", AnswerSource::kHash) == "hash:Paris");
  CHECK(extracted("the answer is 5", AnswerSource::kBoxed) == "no_answer");
  CHECK(extracted("answers 5", AnswerSource::kPhrase) == "no_answer");
  CHECK(extracted("\\boxed{5}", AnswerSource::kTag) == "no_answer");
}

TEST_CASE("the last number of prose") {
  // clang-format off
  const std::vector<std::pair<const char*, const char*>> cases = {
      {"37 + 45 = 82", "82"}, {"The sum of 37 and 45 is 82.", "82"}, {"82!", "82"}, {"is -3", "-3"},
      {"(-3)", "-3"}, {"= -3", "-3"}, {"\n- 5", "5"},
      {"$1,234.50 in all", "$1,234.50"}, {"so 3/4 of it", "3/4"}, {"takes 1 1/2 hours", "1 1/2 hours"},
      {"or \\frac{3}{4} of it", "\\frac{3}{4}"},
      {"-\\dfrac{3}{4}", "-\\dfrac{3}{4}"}, {"1\\frac{1}{2}", "1\\frac{1}{2}"}, {"about 50%", "50%"},
      {"it is 5 cm long", "5 cm"}, {"weighs 5kg", "5kg"},
      {"**82**", "82"}, {"*82*", "82"}, {"* 82", "82"}, {"<<37+45=82>>82", "82"}, {"A: 26", "26"}, {"x=7", "7"},
      {"total:7", "7"}, {"the 21st", "21st"},
      {"version 2.5.", "2.5"}, {"90^\\circ", "90^\\circ"}, {"COVID-19", "19"}, {"82\u4E2A", "82"},
      {"1.5e3", "1.5e3"}, {"82 - good!", "82"},
      {"x^2", "inside_expression"}, {"x^{2}", "inside_expression"}, {"2x", "inside_expression"},
      {"x2", "inside_expression"}, {"10 - 5", "inside_expression"},
      {"x - 3", "inside_expression"}, {"10-5", "inside_expression"}, {"at 3:30", "inside_expression"},
      {"\\sqrt{2}", "inside_expression"}, {"4*5", "inside_expression"},
      {"n * 5", "inside_expression"}, {"2(x+y)", "inside_expression"}, {"2\\pi", "inside_expression"},
      {"1/2/3", "inside_expression"}, {"37 + 45", "inside_expression"},
      {"5 + x", "inside_expression"}, {"12 or 13", "several"}, {"nothing", "no_answer"},
  };
  // clang-format on
  for (const auto& [text, want] : cases) {
    CAPTURE(text);
    const ExtractedAnswer e = last_number(text);
    CHECK(std::string(e.found ? e.text : e.why_not) == want);
  }
}

RewardResult score(const std::string& options, const std::string& gold, const std::string& text,
                   StopReason stop = StopReason::kEos, const std::string& prompt_text = "") {
  const auto reward = make_reward("math", options);
  SampleGroup group;
  group.prompt.id = "p";
  group.prompt.reference = gold;
  group.prompt.text = prompt_text;
  group.completions.resize(1);
  group.completions[0].text = text;
  group.completions[0].stop = stop;
  std::vector<RewardResult> out(1);
  reward->score(group, out);
  return out[0];
}

TEST_CASE("the math reward: verdict, value, columns") {
  RewardResult r = score("{}", "Natalia ... 48+24 = <<48+24=72>>72\n#### 72", "She sold \\boxed{72} clips");
  CHECK(r.verdict == Verdict::kCorrect);
  CHECK(r.value == 1.f);
  CHECK(r.columns["gold_parsed"] == "72");
  CHECK(r.columns["answer_parsed"] == "72");
  CHECK(r.columns["answer_from"] == "boxed");
  r = score("{}", "72", "She sold 73");
  CHECK(r.verdict == Verdict::kWrong);
  CHECK(r.value == 0.f);
  CHECK(r.detail == "value");
  r = score("{correct: 1, wrong: -1}", "72", "I do not know");
  CHECK(r.verdict == Verdict::kUnparsed);
  CHECK(r.value == -1.f);
  CHECK(r.detail == "no_answer");
  CHECK(score("{}", "so the area is \\boxed{\\frac{1}{2}}", "0.5").verdict == Verdict::kCorrect);
  CHECK(score("{}", "3\\sqrt2", "\\boxed{\\sqrt{32}=3\\sqrt2}").verdict == Verdict::kWrong);
}

TEST_CASE("the math reward: mathematics beyond numbers, proofs, and what cannot be decided") {
  RewardResult r = score("{}", "\\frac{\\sqrt2}{2}", "so \\boxed{\\frac{1}{\\sqrt{2}}}");
  CHECK(r.verdict == Verdict::kCorrect);
  CHECK(r.columns["answer_verdict"] == "equal");
  CHECK(r.columns["answer_proof"] == "probable");
  r = score("{}", "(x+1)^2", "so \\boxed{x^2+2x+2}");
  CHECK(r.verdict == Verdict::kWrong);
  CHECK(r.columns["answer_verdict"] == "different");
  CHECK(r.columns["answer_proof"] == "proved");
  r = score("{correct: 1, wrong: -1}", "\\pi", "so \\boxed{5^5^5^5^5}");
  CHECK(r.verdict == Verdict::kUnparsed);
  CHECK(r.value == -1.f);  // not paid, and not an abstention that would take the sample out of the group
  CHECK(r.detail.starts_with("undecided_"));
  CHECK(r.columns["answer_verdict"] == "undecided");
  // Boxes side by side are one list; each alone is not it.
  CHECK(score("{}", "-2, 1", "so \\boxed{1} and \\boxed{-2}").verdict == Verdict::kCorrect);
  CHECK(score("{}", "1", "so \\boxed{1}, \\boxed{-2}").detail == "several_boxes");
  CHECK(score("{}", "11+x", "so \\boxed{x+11} or \\boxed{11+x}").verdict == Verdict::kCorrect);
  CHECK(score("{}", "so $\\boxed{-2}$, $\\boxed{1}$", "\\boxed{\\{1, -2\\}}").verdict == Verdict::kCorrect);
}

TEST_CASE("the math reward: options of the checker") {
  CHECK(score("{strict: true}", "1/3", "0.333").verdict == Verdict::kWrong);
  CHECK(score("{strict: true, rounding_digits: 3}", "1/3", "0.333").verdict == Verdict::kCorrect);
  CHECK(score("{strict: true}", "5 cm", "5").verdict == Verdict::kWrong);
  CHECK(score("{strict: true}", "\\{1,2\\}", "\\boxed{1,2}").verdict == Verdict::kWrong);
  CHECK(score("{}", "\\{1,2\\}", "\\boxed{1,2}").verdict == Verdict::kCorrect);
  CHECK(score("{percent: fraction}", "50\\%", "0.5").verdict == Verdict::kCorrect);
  CHECK(score("{percent: fraction}", "50\\%", "50").verdict == Verdict::kWrong);
  CHECK(score("{percent: either}", "50\\%", "50").verdict == Verdict::kCorrect);
  CHECK(score("{percent: either}", "50\\%", "\\boxed{\\frac12}").verdict == Verdict::kCorrect);
  CHECK(score("{percent: either}", "50\\%", "5").verdict == Verdict::kWrong);
  CHECK(score("{units: require}", "5 cm", "5").detail == "unit");
  CHECK(score("{units: ignore}", "5 cm", "5 m").verdict == Verdict::kCorrect);
  CHECK(score("{}", "(-\\infty, 3)", "\\boxed{x<3}").verdict == Verdict::kWrong);
  CHECK(score("{relation_answers: true}", "(-\\infty, 3)", "\\boxed{x<3}").verdict == Verdict::kCorrect);
  CHECK(score("{}", "101_2", "\\boxed{5_{10}}").detail == "base");
  CHECK(score("{bases: value}", "101_2", "\\boxed{5}").verdict == Verdict::kCorrect);
}

TEST_CASE("the math reward: an unreadable gold abstains and is reported before the run") {
  const RewardResult r = score("{}", "  ", "72");
  CHECK_FALSE(r.value.has_value());
  CHECK(r.verdict == Verdict::kAbstain);
  const auto reward = make_reward("math");
  Prompt prompt;
  CHECK(reward->check_prompt(prompt).find("data.answer") != std::string::npos);
  prompt.reference = "$$";
  CHECK(reward->check_prompt(prompt).find("unreadable gold") != std::string::npos);
  for (const char* broken : {"\\frac{1}{", "(1, 2", "3 +"}) {
    prompt.reference = broken;
    CHECK(reward->check_prompt(prompt).find("neither mathematics nor words") != std::string::npos);
  }
  prompt.reference = std::string(5000, '(');
  CHECK(reward->check_prompt(prompt).find("too_deep") != std::string::npos);
  for (const char* good : {"5", "Evelyn", "\\text{(C)}", "(C) 12", "\\{1, \\sqrt2\\}", "x \\le 2", "\\text{June 20}"}) {
    prompt.reference = good;
    CHECK(reward->check_prompt(prompt).empty());
  }
}

TEST_CASE("the math reward: thinking, truncation, several boxes") {
  CHECK(score("{}", "5", "<think>7</think> it is 5").verdict == Verdict::kCorrect);
  CHECK(score("{}", "7", "<think>7</think>").verdict == Verdict::kUnparsed);
  CHECK(score("{}", "7", "<think>it is \\boxed{7}").detail == "think_not_closed");
  CHECK(score("{}", "7", "it is \\boxed{7}", StopReason::kEos, "User: x <think>\n").detail == "think_not_closed");
  CHECK(score("{}", "7", "6</think> it is \\boxed{7}", StopReason::kEos, "User: x <think>\n").verdict ==
        Verdict::kCorrect);
  CHECK(score("{after_think: false}", "7", "<think>it is \\boxed{7}").verdict == Verdict::kCorrect);
  CHECK(score("{}", "7", "7", StopReason::kLength).verdict == Verdict::kCorrect);
  RewardResult r = score("{require_end: true}", "7", "7", StopReason::kLength);
  CHECK(r.verdict == Verdict::kWrong);
  CHECK(r.value == 0.f);
  CHECK(r.detail == "truncated");
  CHECK(score("{require_end: true}", "7", "7", StopReason::kEos).verdict == Verdict::kCorrect);
  CHECK(score("{require_end: true}", "7", "7", StopReason::kStop).verdict == Verdict::kCorrect);
  CHECK(score("{require_end: true}", "7", "7", StopReason::kAborted).verdict == Verdict::kWrong);
  r = score("{}", "13", "\\boxed{12} or \\boxed{13}");
  CHECK(r.verdict == Verdict::kWrong);
  CHECK(r.detail == "several_boxes");
  CHECK(score("{}", "13", "\\boxed{13}, that is \\boxed{13.0}").verdict == Verdict::kCorrect);
  CHECK(score("{several_boxes: last}", "13", "\\boxed{12} or \\boxed{13}").verdict == Verdict::kCorrect);
  // The quick start's rule: the last number is right and the answer ended.
  CHECK(score("{extract: last_number, require_end: true}", "82", "37 + 45 = 82").verdict == Verdict::kCorrect);
  CHECK(score("{extract: last_number, require_end: true}", "82", "82 is 37 plus 45").verdict == Verdict::kWrong);
}

TEST_CASE("the math reward: bad options") {
  const auto error = [](const std::string& options) -> std::string {
    try {
      make_reward("math", options);
    } catch (const ConfigError& e) {
      return e.what();
    }
    return "no error";
  };
  CHECK(error("{extrct: boxed}").find("extract") != std::string::npos);
  CHECK(error("{extract: box}").find("boxed") != std::string::npos);
  CHECK(error("{require_end: maybe}").find("require_end") != std::string::npos);
  CHECK(error("{correct: 0}").find("larger than wrong") != std::string::npos);
  CHECK(error("{percent: maybe}").find("either") != std::string::npos);
  CHECK(error("{unit: check}").find("units") != std::string::npos);
  CHECK(error("{rounding_digits: -1}").find("rounding_digits") != std::string::npos);
}

TEST_CASE("one megabyte is judged in linear time, whatever it holds") {
  const auto repeat = [](const std::string& unit) {
    std::string out;
    while (out.size() < 1'000'000) out += unit;
    return out;
  };
  const std::vector<std::string> hostile = {
      repeat("\\boxed{"),
      repeat("}"),
      repeat("{"),
      repeat("1"),
      repeat("1,"),
      repeat("1,111,"),
      repeat("1/"),
      repeat("1 1/2 "),
      repeat("$"),
      repeat("$1 "),
      repeat("\\("),
      repeat("\\frac{1}{"),
      repeat("the answer is "),
      repeat("answer: *"),
      repeat("#### "),
      repeat("<answer>"),
      repeat("<think>"),
      repeat("9^"),
      repeat("9**"),
      repeat("9e9"),
      repeat("\\text{"),
      repeat("\\boxed{1}"),
      repeat("\xEF\xBC\x91"),
      repeat("\xFF"),
      repeat("- "),
      repeat("**"),
      repeat("\\"),
      repeat("= "),
      repeat("1 or "),
      "\\boxed{" + repeat("(") + "}",
      "\\boxed{" + repeat("\\sqrt") + "}",
      "\\boxed{" + repeat("x=") + "}",
      "the answer is " + repeat("5 "),
      "\\boxed{" + repeat("5 cm ") + "}",
      repeat("\n"),
      repeat("*\n "),
      repeat(". "),
      repeat("\\frac"),
  };
  for (const std::string& text : hostile) {
    CAPTURE(text.substr(0, 20));
    const auto start = std::chrono::steady_clock::now();
    const RewardResult r = score("{}", "5", text);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    CHECK(r.value.has_value());
    CHECK(seconds < 1.0);  // about 0.02 s alone; a quadratic pass would take minutes
  }
}

}  // namespace
}  // namespace r1
