#include "rewards/format.h"

#include <chrono>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "rewards/factory.h"

namespace r1 {
namespace {

FormatVerdict check(std::string_view text, bool opened = false, FormatOptions options = {},
                    StopReason stop = StopReason::kEos) {
  return check_format(text, opened, stop, options);
}

// The table of public patterns' behaviour (each pays some of the bad forms) with the column we want.
TEST_CASE("full credit for the right form only") {
  struct Row {
    const char* text;
    bool opened;
    const char* why;
  };
  const std::vector<Row> rows = {
      {"<think>\nadd them\n</think>\n<answer>\n82\n</answer>", false, "ok"},
      {"<think>add</think><answer>82</answer>", false, "ok"},         // no newlines
      {"  \n<think>add</think> <answer>82</answer>\n", false, "ok"},  // leading and trailing space
      {"add</think><answer>82</answer>", true, "ok"},                 // opening tag prefilled by the template
      {"\nadd</think>\n<answer>82</answer>", true, "ok"},
      {"<think></think><answer>82</answer>", false, "empty_think"},
      {"<think> \n </think><answer>82</answer>", false, "empty_think"},
      {"<think>...</think><answer>82</answer>", false, "empty_think"},  // no word
      {"<think>\u200B\u00A0</think><answer>82</answer>", false, "empty_think"},
      {"<think></think><answer></answer>", false, "empty_think"},
      {"<think>add</think><answer></answer>", false, "empty_answer"},
      {"<think>add</think><answer> . </answer>", false, "empty_answer"},
      {"<think>add</think><answer>1</answer><answer>2</answer>", false, "text_after_answer"},
      {"<think>a</think><think>b</think><answer>2</answer>", false, "no_answer"},
      {"<think>a<think>b</think></think><answer>2</answer>", false, "tag_in_think"},
      {"<think>add</think><answer>82</answer> and more", false, "text_after_answer"},
      {"<think>add</think><answer>82</answer>\nand more\n", false, "text_after_answer"},
      {"<think>add <answer>82</answer></think>", false, "tag_in_think"},
      {"<answer>82</answer><think>add</think>", false, "no_think"},
      {"<think>add</think>82", false, "no_answer"},
      {"<think>add</think>so <answer>82</answer>", false, "text_before_answer"},
      {"<think>add</think>", false, "no_answer"},
      {"<think>add", false, "think_not_closed"},
      {"82", false, "no_think"},
      {"", false, "no_think"},
      {"so <think>add</think><answer>82</answer>", false, "no_think"},
      {"<think>add</think><answer>82", false, "answer_not_closed"},
      {"<think>add</think><answer>8<answer>2</answer>", false, "tag_in_answer"},
      {"<think>add</think><answer>8</think>2</answer>", false, "tag_in_answer"},
      {"</think>", true, "empty_think"},                                // a bare closing tag earns nothing
      {"<think>add</think><answer>82</answer>", true, "tag_in_think"},  // opened twice
      {"<Think>add</Think><answer>82</answer>", false, "no_think"},
      {"<think >add</think><answer>82</answer>", false, "no_think"},
      {"\uFF1Cthink\uFF1Eadd</think><answer>82</answer>", false, "no_think"},  // look-alikes are no tags
      {"<th\u200Bink>add</think><answer>82</answer>", false, "no_think"},
      {"<think>add</th\u200Bink><answer>82</answer>", false, "tag_in_think"},
      {"<think>\u76F8\u52A0</think><answer>\u516B</answer>", false, "ok"},  // words of any script
      // Tags that are only quoted, in code spans of the think block.
      {"<think>put it in `<answer>` tags</think><answer>82</answer>", false, "ok"},
      {"<think>```\n<answer>x</answer>\n</think>\n```\nadd</think><answer>82</answer>", false, "ok"},
      {"<think>a lone ` mark</think><answer>`82`</answer>", false, "ok"},
      {"<think>a lone ` mark\nhere</think><answer>it is ` 82</answer>", false, "ok"},  // spans do not cross lines
      {"<think>put it in \"<answer>\" tags</think><answer>82</answer>", false, "tag_in_think"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const FormatVerdict v = check(row.text, row.opened);
    CHECK(std::string(v.why) == row.why);
    CHECK(v.value == (std::string(row.why) == "ok" ? 1.f : 0.f));
  }
}

TEST_CASE("options: no code spans, untagged answers, a stop string in place of the closing tag") {
  FormatOptions no_code;
  no_code.code_spans = false;
  CHECK(std::string(check("<think>in `<answer>` tags</think><answer>82</answer>", false, no_code).why) ==
        "tag_in_think");
  FormatOptions rest;
  rest.answer_tag = false;
  CHECK(check("<think>add</think>82", false, rest).value == 1.f);
  CHECK(check("add</think>\n\nIt is 82.\n", true, rest).value == 1.f);
  CHECK(std::string(check("<think>add</think>", false, rest).why) == "empty_answer");
  CHECK(std::string(check("<think>add</think>82 <think>more</think>", false, rest).why) == "tag_in_answer");
  FormatOptions stop;
  stop.stop_closes_answer = true;
  CHECK(check("<think>add</think><answer>82", false, stop, StopReason::kStop).value == 1.f);
  CHECK(check("<think>add</think><answer>82", false, stop, StopReason::kEos).value == 0.f);
  CHECK(check("<think>add</think><answer>", false, stop, StopReason::kStop).value == 0.f);
  CHECK(check("<think>add</think><answer>82", false, {}, StopReason::kStop).value == 0.f);
}

TEST_CASE("a completion that did not end gets nothing") {
  const char* good = "<think>add</think><answer>82</answer>";
  FormatOptions partial;
  partial.partial = true;
  for (const StopReason stop : {StopReason::kLength, StopReason::kAborted}) {
    CHECK(check(good, false, {}, stop).value == 0.f);
    CHECK(check(good, false, partial, stop).value == 0.f);
    CHECK(std::string(check(good, false, {}, stop).why) == "truncated");
  }
  CHECK(check(good, false, {}, StopReason::kStop).value == 1.f);
}

TEST_CASE("prefixes: nothing before the end without partial credit, never falling with it") {
  const std::string good = "<think>add `x` them</think>\n<answer>82</answer>";
  FormatOptions partial;
  partial.partial = true;
  float last = 0;
  for (std::size_t n = 0; n <= good.size(); ++n) {
    CHECK(check(good.substr(0, n)).value == (n == good.size() ? 1.f : 0.f));
    const float value = check(good.substr(0, n), false, partial).value;
    CHECK(value >= last);
    last = value;
  }
  CHECK(check("<think>a", false, partial).value == 0.25f);
  CHECK(check("<think>a</think>", false, partial).value == 0.5f);
  CHECK(check("<think>a</think><answer>", false, partial).value == 0.75f);
  CHECK(check("<answer>82</answer>", false, partial).value == 0.f);  // a later tag earns nothing before an earlier one
  CHECK(check("</think><answer>82</answer>", true, partial).value == 0.f);  // nothing for a tag the prompt wrote
}

TEST_CASE("tag_count") {
  CHECK(count_tags("<think>a</think><answer>b</answer>", false) == 1.f);
  CHECK(count_tags("a</think><answer>b</answer>", true) == 1.f);
  CHECK(count_tags("<think>a</think>", false) == 0.5f);
  CHECK(count_tags("<think></think><answer></answer>", false) == 0.25f);
  CHECK(count_tags("<answer>b</answer><think>a</think>", false) == 0.5f);
  CHECK(count_tags("<think>a</think><answer>b</answer><answer>c</answer>", false) == 0.5f);
  CHECK(count_tags("<think>a<think>b</think>", false) == 0.f);
  CHECK(count_tags("", true) == 0.f);
  CHECK(count_tags("<think>a</think><answer>b</answer>", true) == 0.f);
}

TEST_CASE("the reward reads prefill and stop reason from the group, and its known answers come out right") {
  const auto reward = make_reward("format");
  CHECK_FALSE(reward->judges_answer());
  SampleGroup group;
  group.prompt.text = "User: 1+1? Assistant: <think>\n";
  group.completions.resize(2);
  group.completions[0].text = "add</think><answer>2</answer>";
  group.completions[0].stop = StopReason::kEos;
  group.completions[1] = group.completions[0];
  group.completions[1].stop = StopReason::kLength;
  std::vector<RewardResult> out(2);
  reward->score(group, out);
  CHECK(out[0].value == 1.f);
  CHECK(out[0].verdict == Verdict::kCorrect);
  CHECK(out[1].value == 0.f);
  CHECK(out[1].detail == "truncated");
}

TEST_CASE("one megabyte in linear time") {
  for (const std::string unit : {"<think>", "`", "``a`b```c", "<", "</think>", "` ", "\n```\n", "<answer>", "` `` "}) {
    std::string text = "<think>";
    while (text.size() < 1'000'000) text += unit;
    const auto start = std::chrono::steady_clock::now();
    CHECK(check(text).value == 0.f);
    (void)count_tags(text, false);
    CHECK(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() < 1.0);
  }
}

}  // namespace
}  // namespace r1
