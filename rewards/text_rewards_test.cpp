// exact_match, regex, words_below, overlong, length, repetition; text helpers.
#include <chrono>
#include <string>

#include <doctest/doctest.h>

#include "core/error.h"
#include "rewards/completion_text.h"
#include "rewards/exact_match.h"
#include "rewards/factory.h"
#include "rewards/length.h"
#include "rewards/relative_length.h"
#include "rewards/repetition.h"
#include "rewards/word_units.h"
#include "tests/support/errors.h"

namespace r1 {
namespace {

RewardResult score(const std::string& name, const std::string& options, const std::string& gold,
                   const std::string& text, StopReason stop = StopReason::kEos,
                   std::map<std::string, std::string> columns = {}) {
  SampleGroup group;
  group.prompt.reference = gold;
  group.prompt.columns = std::move(columns);
  group.completions.resize(1);
  group.completions[0].text = text;
  group.completions[0].stop = stop;
  std::vector<RewardResult> out(1);
  make_reward(name, options)->score(group, out);
  return out[0];
}
using test::error_of;

TEST_CASE("plain forms") {
  CHECK(plain_forms("\uFF11\uFF12\uFF0E\uFF15") == "12.5");
  CHECK(plain_forms("3\u00D74\u2212\u0663") == "3*4-3");
  CHECK(plain_forms("10\u00B3\u207B") == "10^{3-}");
  CHECK(plain_forms("x\u00B2+1") == "x^{2}+1");
  CHECK(plain_forms("a\u00A0b\u3000c") == "a b c");
  CHECK(plain_forms("\u7B54\u6848") == "\u7B54\u6848");
  CHECK(plain_forms("a\xFF\x80"
                    "b\xE4") ==
        "a\xFF\x80"
        "b\xE4");
  CHECK(plain_forms("") == "");
  CHECK(has_word("a"));
  CHECK(has_word("..7.."));
  CHECK(has_word("\u4E2D"));
  CHECK_FALSE(has_word(" .,\u3002\u200B\xFF"));
}

TEST_CASE("the part that holds the answer") {
  CHECK(after_think("<think>a</think>b", false).text == "b");
  CHECK(after_think("a</think>b</think>c", true).text == "c");
  CHECK(after_think("abc", false).text == "abc");
  CHECK_FALSE(after_think("abc", true).closed);
  CHECK_FALSE(after_think(" <think>abc", false).closed);
  CHECK(after_think("see <think>abc", false).closed);
  Prompt p;
  CHECK_FALSE(prompt_opens_think(p));
  p.text = "Assistant: <think>\n";
  CHECK(prompt_opens_think(p));
  p.text = "use <think> tags.";
  CHECK_FALSE(prompt_opens_think(p));
}

TEST_CASE("exact_match") {
  const auto verdict = [](const std::string& options, const std::string& gold, const std::string& text) {
    return score("exact_match", options, gold, text).verdict;
  };
  CHECK(verdict("{}", "u r f m", "U  r f m.\n") == Verdict::kCorrect);
  CHECK(verdict("{}", "u r f m", "u r f") == Verdict::kWrong);
  CHECK(verdict("{}", "31 78 97", "<think>x</think><answer>31 78 97</answer>") == Verdict::kCorrect);
  CHECK(verdict("{read: text}", "31", "<answer>31</answer>") == Verdict::kWrong);
  CHECK(verdict("{read: last_line}", "31 78", "sorted:\n31 78\n") == Verdict::kCorrect);
  CHECK(verdict("{read: end}", "31 78", "They are 31 78.") == Verdict::kCorrect);
  CHECK(verdict("{read: end}", "1 78", "They are 31 78.") == Verdict::kWrong);
  CHECK(verdict("{ignore_case: false}", "Abc", "abc") == Verdict::kWrong);
  CHECK(verdict("{ignore_punctuation: false}", "abc", "abc.") == Verdict::kWrong);
  CHECK(verdict("{}", "-5", "5") == Verdict::kWrong);
  CHECK(verdict("{}", "\u00C4pfel", "\u00E4pfel") == Verdict::kCorrect);
  CHECK(verdict("{}", "?", "?") == Verdict::kCorrect);
  CHECK(verdict("{}", "a", "") == Verdict::kUnparsed);
  CHECK(verdict("{}", "", "a") == Verdict::kAbstain);
  CHECK(score("exact_match", "{require_end: true}", "a", "a", StopReason::kLength).value == 0.f);
  CHECK(score("exact_match", "{}", "a", "a", StopReason::kLength).value == 1.f);
  CHECK_FALSE(make_reward("exact_match")->check_prompt(Prompt{}).empty());
}

TEST_CASE("regex") {
  CHECK(score("regex", "{pattern: '\\d{3}'}", "", "abc 123").value == 1.f);
  CHECK(score("regex", "{pattern: '\\d{3}', match: full}", "", "abc 123").value == 0.f);
  CHECK(score("regex", "{pattern: 'Answer: (\\w+)', gold: true}", "dog", "Answer: cat. Answer: dog").verdict ==
        Verdict::kCorrect);
  CHECK(score("regex", "{pattern: 'Answer: (\\w+)', gold: true}", "cat", "Answer: cat. Answer: dog").verdict ==
        Verdict::kWrong);
  CHECK(score("regex", "{pattern: 'Answer: (\\w+)', gold: true}", "cat", "cat").verdict == Verdict::kUnparsed);
  CHECK(score("regex", "{pattern: '(x*)', gold: true}", "q", "abc").verdict == Verdict::kWrong);  // empty matches end
  CHECK(error_of([] { make_reward("regex", "{pattern: '('}"); }).find("RE2") != std::string::npos);
  CHECK(error_of([] { make_reward("regex", "{pattern: 'a', gold: true}"); }).find("group") != std::string::npos);
  CHECK(error_of([] { make_reward("regex"); }).find("pattern") != std::string::npos);
  const std::string hostile(1'000'000, 'a');
  const auto start = std::chrono::steady_clock::now();
  CHECK(score("regex", "{pattern: '(a*)*b'}", "", hostile).value == 0.f);
  CHECK(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() < 2.0);
}

TEST_CASE("words_below") {
  const std::map<std::string, std::string> row = {{"limit", "6"}};
  const auto verdict = [&](const std::string& text, StopReason stop = StopReason::kEos) {
    return score("words_below", "{}", "", text, stop, row).verdict;
  };
  CHECK(verdict("Dogs run fast at night.") == Verdict::kCorrect);
  CHECK(verdict("Dogs run very fast at night.") == Verdict::kWrong);
  CHECK(verdict("") == Verdict::kUnparsed);
  CHECK(verdict("...") == Verdict::kUnparsed);
  CHECK(verdict("Dogs run", StopReason::kLength) == Verdict::kWrong);
  CHECK(score("words_below", "{limit: 3}", "", "two words").value == 1.f);
  CHECK(score("words_below", "{}", "", "a", StopReason::kEos).verdict == Verdict::kAbstain);
  CHECK(make_reward("words_below")->check_prompt(Prompt{}).find("limit") != std::string::npos);
  CHECK(error_of([] { make_reward("words_below", "{limit: 3, column: n}"); }).find("no effect") != std::string::npos);
}

TEST_CASE("overlong is continuous at both ends (DAPO)") {
  CHECK(soft_overlong(16384, 20480, 4096) == 0.f);
  CHECK(soft_overlong(16385, 20480, 4096) == doctest::Approx(-1.0 / 4096));
  CHECK(soft_overlong(18432, 20480, 4096) == -0.5f);
  CHECK(soft_overlong(20479, 20480, 4096) == doctest::Approx(-4095.0 / 4096));
  CHECK(soft_overlong(20480, 20480, 4096) == -1.f);
  CHECK(soft_overlong(30000, 20480, 4096) == -1.f);
  SampleGroup group;
  group.completions.resize(1);
  group.completions[0].tokens.resize(90);
  std::vector<RewardResult> out(1);
  RewardContext context;
  context.max_new_tokens = 100;
  make_reward("overlong", "{}", context)->score(group, out);  // cache 20
  CHECK(out[0].value == -0.5f);
  CHECK(out[0].verdict == Verdict::kAbstain);
  CHECK(error_of([] { make_reward("overlong", "{max_tokens: 10, cache_tokens: 10}"); }).find("cache_tokens") !=
        std::string::npos);
}

TEST_CASE("length and repetition") {
  const auto length = [](const std::string& options, const std::string& text) {
    return *score("length", options, "", text).value;
  };
  CHECK(length("{unit: words, max: 3}", "a b c") == 1.f);
  CHECK(length("{unit: words, max: 3}", "a b c d") == 0.f);
  CHECK(length("{unit: words, max: 3, margin: 1}", "a b c d") == 0.5f);
  CHECK(length("{unit: words, min: 2, max: 3}", "a") == 0.f);
  CHECK(length("{unit: characters, max: 2}", "\u00E4\u00F6") == 1.f);
  CHECK(error_of([] { make_reward("length", "{min: 5, max: 3}"); }).find("min") != std::string::npos);
  CHECK(repeated_share("a b c d", 2) == 0.f);
  CHECK(repeated_share("a b a b", 2) == doctest::Approx(1.0 / 3));
  CHECK(repeated_share("a", 3) == 0.f);
  CHECK(repeated_share(std::vector<TokenId>(101, 7), 1) == doctest::Approx(100.0 / 101));
  CHECK(*score("repetition", "{ngram: 2, max_penalty: 0.3}", "", "a b a b").value == doctest::Approx(-0.1));
}

TEST_CASE("words of languages without spaces are counted (open-r1: one Chinese text is one word)") {
  CHECK(word_units("\u6211\u4EEC\u8BA1\u7B97\u3002\u6211\u4EEC\u68C0\u67E5\u3002").size() == 6);  // we compute. we check.
  CHECK(word_units("\u7528 GPU \u8BA1\u7B97x+1").size() == 4);
  CHECK(word_units("").empty());
  CHECK(word_units(" \u3000\n").empty());
  CHECK(word_units("na\u00EFve  caf\u00E9\n42 x=1").size() == 4);
  CHECK(word_units("The THE the \u00C9t\u00E9 \u00E9T\u00C9") ==
        std::vector<std::uint64_t>{word_units("the")[0], word_units("the")[0], word_units("the")[0],
                                   word_units("\u00E9t\u00E9")[0], word_units("\u00E9t\u00E9")[0]});
  CHECK(word_units("\xFF\xFE \xFF").size() == 2);
  CHECK(word_units("\xFF")[0] != word_units("\xFE")[0]);
  for (const std::string phrase : {"\u6211\u4EEC\u518D\u8BD5\u4E00\u6B21\u3002", "\u3082\u3046\u4E00\u5EA6\u8A66\u3057\u307E\u3059\u3002",
                                   "\u0E25\u0E2D\u0E07\u0E2D\u0E35\u0E01\u0E04\u0E23\u0E31\u0E49\u0E07", "try it again "}) {
    std::string loop;
    for (int i = 0; i < 40; ++i) loop += phrase;
    CAPTURE(loop);
    CHECK(repeated_share(loop, 3) > 0.9f);
    CHECK(repeated_share(phrase, 3) == 0.f);
  }
  CHECK(*score("length", "{unit: words, max: 2}", "", "\u6211\u4EEC\u8BA1\u7B97").value == 1.f);
  CHECK(*score("length", "{unit: words, max: 1}", "", "\u6211\u4EEC\u8BA1\u7B97").value == 0.f);
}

TEST_CASE("repetition: too short or empty is no repetition, and no division by zero") {
  for (const char* text : {"", " ", "a", "a a"}) CHECK(*score("repetition", "{}", "", text).value == 0.f);
  CHECK(*score("repetition", "{max_penalty: 0}", "", "a a a a a a").value == 0.f);
}

TEST_CASE("repetition: a million characters in linear time") {
  const auto seconds = [](const std::string& unit, std::size_t bytes) {
    std::string text;
    while (text.size() < bytes) text += unit;
    const auto start = std::chrono::steady_clock::now();
    (void)repeated_share(text, 3);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  for (const std::string unit : {"a ", "a", " ", "word after word ", "\u6211\u4EEC\u518D\u8BD5", "\u6211", "\u0E01", "\xE0", "\u3000", "\u6211a "}) {
    CAPTURE(unit);
    CHECK(seconds(unit, 1'000'000) < std::max(24 * seconds(unit, 125'000), 1.0));  // 8 if linear, 64 if quadratic
  }
}

SampleGroup lengths(const std::string& gold, const std::vector<std::pair<std::string, std::size_t>>& samples) {
  SampleGroup group;
  group.prompt.reference = gold;
  for (const auto& [text, tokens] : samples) {
    Completion c;
    c.text = text;
    c.tokens.resize(tokens);
    c.stop = StopReason::kEos;
    group.completions.push_back(std::move(c));
  }
  return group;
}

TEST_CASE("relative length (Kimi k1.5): shorter is better within the group, wrong is never paid") {
  const auto reward = make_reward("length", "{mode: relative}");
  CHECK(reward->judges_answer());
  const std::string right = "\\boxed{42}", wrong = "\\boxed{41}";
  std::vector<RewardResult> out(4);
  reward->score(lengths("42", {{right, 100}, {right, 150}, {wrong, 100}, {wrong, 200}}), out);
  CHECK(*out[0].value == 0.5f);
  CHECK(*out[1].value == 0.f);
  CHECK(*out[2].value == 0.f);
  CHECK(*out[3].value == -0.5f);
  CHECK(out[0].verdict == Verdict::kCorrect);
  // open-r1 counts characters: here padding changes nothing.
  reward->score(lengths("42", {{right + std::string(5000, ' '), 100}, {right, 150}, {wrong, 100}, {wrong, 200}}), out);
  CHECK(*out[0].value == 0.5f);
  out.assign(4, {});
  // open-r1 takes the answer for right where the gold cannot be read: here it abstains, and the prompt check says so.
  reward->score(lengths("", {{right, 100}, {right, 150}, {wrong, 100}, {wrong, 200}}), out);
  for (const RewardResult& r : out) CHECK_FALSE(r.value.has_value());
  CHECK_FALSE(reward->check_prompt(Prompt{}).empty());
  out.assign(4, {});
  // All equally long: nothing to compare.
  reward->score(lengths("42", {{right, 7}, {right, 7}, {wrong, 7}, {wrong, 7}}), out);
  for (const RewardResult& r : out) CHECK(*r.value == 0.f);
  std::vector<RewardResult> none;
  reward->score(lengths("42", {}), none);
  CHECK(relative_length(5, 5, 5, true) == 0.f);
  CHECK(error_of([] { make_reward("length"); }).find("mode: relative") != std::string::npos);
  CHECK(error_of([] { make_reward("length", "{mode: relative, max: 3}"); }).find("max") != std::string::npos);
  CHECK(error_of([] { make_reward("length", "{mode: relative, judge: format}"); }).find("judge") != std::string::npos);
}

}  // namespace
}  // namespace r1
