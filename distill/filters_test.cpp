#include "distill/filters.h"

#include <doctest/doctest.h>

#include "core/error.h"

namespace r1 {
namespace {

Completion completion(std::string text, StopReason stop = StopReason::kEos, std::size_t tokens = 0) {
  Completion c;
  c.text = std::move(text);
  c.stop = stop;
  c.tokens.assign(tokens, 0);
  return c;
}

Score scored(Verdict v) {
  Score s;
  s.verdict = v;
  return s;
}

// Filter and reason; "" = passes.
std::string judged(const FilterOptions& o, const Completion& c, const Prompt& prompt = {}, Verdict v = Verdict::kCorrect) {
  const auto r = FilterChain(o).judge(prompt, c, scored(v));
  return r ? std::string(r->filter) + ": " + r->why : "";
}

TEST_CASE("filters: nothing set passes everything") {
  CHECK(judged({}, completion("", StopReason::kAborted), {}, Verdict::kError) == "");
  CHECK(FilterChain({}).names().empty());
}

TEST_CASE("filter finished: an end token or a stop string, nothing else") {
  FilterOptions o;
  o.finished = true;
  CHECK(judged(o, completion("a", StopReason::kEos)) == "");
  CHECK(judged(o, completion("a", StopReason::kStop)) == "");
  CHECK(judged(o, completion("a", StopReason::kLength)) == "finished: length");
  CHECK(judged(o, completion("a", StopReason::kAborted)) == "finished: aborted");
}

TEST_CASE("filter format: with and without answer tags, and a block that the prompt opened") {
  FilterOptions o;
  o.format.emplace();
  o.format->answer_tag = false;
  CHECK(judged(o, completion("<think>a word</think> so 4")) == "");
  CHECK(judged(o, completion("so 4")) == "format: no_think");
  Prompt opened;
  opened.text = "<think>\n";
  CHECK(judged(o, completion("a word</think> so 4"), opened) == "");
  CHECK(judged(o, completion("<think>a word</think> so 4"), opened) == "format: tag_in_think");
  o.format->answer_tag = true;
  CHECK(judged(o, completion("<think>a word</think> so 4")) == "format: no_answer");
  CHECK(judged(o, completion("<think>a word</think><answer>4</answer>")) == "");
}

TEST_CASE("filter correct: by the verdict, whatever the reward") {
  FilterOptions o;
  o.correct = true;
  CHECK(judged(o, completion("a")) == "");
  for (const Verdict v : {Verdict::kWrong, Verdict::kUnparsed, Verdict::kTimeout, Verdict::kError, Verdict::kAbstain})
    CHECK(judged(o, completion("a"), {}, v) == std::string("correct: ") + to_string(v));
}

TEST_CASE("filter language: the chain's words, the question's language") {
  FilterOptions o;
  o.language = 0.95;
  Prompt english;
  english.messages = {{"user", "How many apples are there in the basket when two of them are eaten?"}};
  const std::string chain = "<think>There are five apples in the basket and two of them are eaten by the children.</think> 3";
  CHECK(judged(o, completion(chain), english) == "");
  const std::string mixed = "<think>There are five apples in the basket. 篮子里有五个苹果，孩子们吃了两个，所以还剩下三个苹果。</think> 3";
  CHECK(judged(o, completion(mixed), english).starts_with("language: "));
  // Only the chain is looked at, and what says nothing refuses nothing.
  CHECK(judged(o, completion("<think>There are five apples in the basket and two of them are eaten.</think> 篮子里还剩下三个苹果，孩子们吃了两个。"), english) == "");
  CHECK(judged(o, completion("<think>$5 - 2 = 3$</think> 3"), english) == "");
  o.language_code = "zh";
  CHECK(judged(o, completion(chain), english).starts_with("language: "));
  o.language_code = "klingon";
  CHECK_THROWS_AS(FilterChain{o}, ConfigError);
}

TEST_CASE("filter repetition: how often a phrase comes, and what share repeats") {
  FilterOptions o;
  o.repetition.emplace();
  o.repetition->ngram = 3;
  o.repetition->max_count = 2;
  o.repetition->max_share = 1;
  CHECK(most_repeated("a b c d a b c e a b c", 3) == 3);
  CHECK(most_repeated("a b", 3) == 0);
  CHECK(judged(o, completion("a b c d a b c e a b c")) == "repetition: one phrase 3 times");
  CHECK(judged(o, completion("a b c d a b c e f g")) == "");
  o.repetition->max_count = 100;
  o.repetition->max_share = 0.5;
  CHECK(judged(o, completion("x y z x y z x y z x y z x y z x y z")).starts_with("repetition: 8"));
  CHECK(judged(o, completion("one two three four five six one two three")) == "");
  CHECK(most_repeated("我们先计算苹果的数量。我们先计算苹果的数量。", 2) == 2);  // words by dictionary
}

TEST_CASE("filter paragraphs: characters between blank lines") {
  CHECK(longest_paragraph("") == 0);
  CHECK(longest_paragraph("abc\ndef\n \nxy") == 7);
  CHECK(longest_paragraph("ab\n\näöüß") == 4);
  FilterOptions o;
  o.max_paragraph = 6;
  CHECK(judged(o, completion("abc\ndef")) == "paragraphs: 7 characters");
  CHECK(judged(o, completion("abc\n\ndef")) == "");
}

TEST_CASE("filter code: a block in the chain, but not in the answer and not for code tasks") {
  FilterOptions o;
  o.no_code = true;
  const Completion chain = completion("<think>try\n  ```python\nx = 1\n```\n</think> 1"), answer = completion("<think>try</think>\n```\nx = 1\n```");
  CHECK(judged(o, chain) == "code: code in the chain");
  CHECK(judged(o, answer) == "");
  CHECK(judged(o, completion("<think>the mark ``` inside a line</think> 1")) == "");
  Prompt code;
  code.task = "code";
  CHECK(judged(o, chain, code) == "");
  CHECK(has_code_block("~~~\nx\n~~~"));
}

TEST_CASE("filter length: tokens where they are known, characters always") {
  FilterOptions o;
  o.length.emplace();
  o.length->min_tokens = 2;
  o.length->max_tokens = 4;
  CHECK(judged(o, completion("abc", StopReason::kEos, 1)) == "length: 1 tokens");
  CHECK(judged(o, completion("abc", StopReason::kEos, 5)) == "length: 5 tokens");
  CHECK(judged(o, completion("abc", StopReason::kEos, 4)) == "");
  CHECK(judged(o, completion("abc")) == "");  // a server did not say
  o.length->max_characters = 3;
  CHECK(judged(o, completion("äöü")) == "");
  CHECK(judged(o, completion("abcd")) == "length: 4 characters");
}

TEST_CASE("filters are asked in the order of the paper: a sample counts at the first that refuses it") {
  FilterOptions o;
  o.finished = o.correct = o.no_code = true;
  o.format.emplace();
  o.language = 0.95;
  o.repetition.emplace();
  o.max_paragraph = 10;
  o.length.emplace();
  const std::vector<std::string_view> order = {"finished", "format", "correct", "language", "repetition", "paragraphs", "code", "length"};
  CHECK(FilterChain(o).names() == order);
  CHECK(judged(o, completion("x", StopReason::kLength), {}, Verdict::kWrong) == "finished: length");
  CHECK(judged(o, completion("x"), {}, Verdict::kWrong) == "format: no_think");
  CHECK(judged(o, completion("<think>a</think><answer>b</answer>"), {}, Verdict::kWrong) == "correct: wrong");
}

}  // namespace
}  // namespace r1
