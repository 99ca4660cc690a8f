#include "rewards/format.h"

#include <algorithm>
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

// What the public patterns pay (open-r1 format, open-r1 tag_count, trl think_format; measured on their expressions), and
// what is right. Every row is wrong in at least one of them but the first.
TEST_CASE("the forms that public patterns get wrong") {
  struct Row {
    const char *what, *text;
    bool opened;
    float open_r1, open_r1_tags, trl, wanted;
  };
  const std::vector<Row> rows = {
      {"right form", "<think>\nadd\n</think>\n<answer>\n82\n</answer>", false, 1, 1, 1, 1},
      {"empty think", "<think>\n\n</think>\n<answer>\n82\n</answer>", false, 1, 1, 1, 0},
      {"empty think and answer", "<think>\n\n</think>\n<answer>\n\n</answer>", false, 1, 1, 1, 0},
      {"two answer blocks", "<think>\na\n</think>\n<answer>\n1\n</answer>\n<answer>\n2\n</answer>", false, 1, 0.5, 1, 0},
      {"two think blocks", "<think>\na\n</think>\n<think>\nb\n</think>\n<answer>\n2\n</answer>", false, 1, 0.5, 0, 0},
      {"text after", "<think>\na\n</think>\n<answer>\n82\n</answer>\nand more", false, 1, 1, 1, 0},
      {"answer in think", "<think>\n<answer>\n1\n</answer>\n</think>\n<answer>\n82\n</answer>", false, 1, 0.75, 1, 0},
      {"answer first", "<answer>\n82\n</answer>\n<think>\na\n</think>", false, 0, 1, 0, 0},
      {"no newlines", "<think>add</think><answer>82</answer>", false, 0, 0, 1, 1},
      {"prefilled by the template", "\nadd\n</think>\n<answer>\n82\n</answer>", true, 0, 0.75, 0, 1},
      {"leading space", " <think>\nadd\n</think>\n<answer>\n82\n</answer>", false, 0, 1, 0, 1},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    CHECK(check(row.text, row.opened).value == row.wanted);
    CHECK((row.what == std::string("right form") || row.open_r1 != row.wanted || row.open_r1_tags != row.wanted ||
           row.trl != row.wanted));
    // tag_count is lenient on purpose, but never pays in full what format refuses.
    CHECK((count_tags(row.text, row.opened) == 1.f) <= (row.wanted == 1.f || row.what == std::string("text after")));
  }
}

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
      {"<th\u0456nk>add</th\u0456nk><answer>82</answer>", false, "no_think"},  // a Cyrillic letter
      {"\u2039think\u203Aadd</think><answer>82</answer>", false, "no_think"},
      {"&lt;think&gt;add</think><answer>82</answer>", false, "no_think"},
      {"<think>add</think><answer>82<\u2215answer>", false, "answer_not_closed"},
      {"<think>add</think><\u202Eanswer>82</answer>", false, "no_answer"},
      {"<think\u0301>add</think><answer>82</answer>", false, "no_think"},
      {"\uFEFF<think>add</think><answer>82</answer>", false, "no_think"},  // a zero-width mark is no white space
      {"\u3000\u00A0<think>add</think>\u2003<answer>82</answer>\u3000", false, "ok"},  // white space of any script
      // Line ends of any system.
      {"\r\n<think>\r\nadd\r\n</think>\r\n<answer>\r\n82\r\n</answer>\r\n", false, "ok"},
      {"<think>\radd\r</think>\r<answer>82</answer>\r", false, "ok"},
      {"<think>\r\n\r\n</think><answer>82</answer>", false, "empty_think"},
      // An end token after it, where the text was decoded with special tokens; nothing between them.
      {"<think>add</think><answer>82</answer><|im_end|>", false, "ok"},
      {"<think>add</think><answer>82</answer>\n</s> \n", false, "ok"},
      {"<think>add</think><answer>82</answer><|im_end|>more", false, "text_after_answer"},
      {"<|im_end|><think>add</think><answer>82</answer>", false, "no_think"},
      // Crossed, nested, doubled.
      {"<think>add<answer></think>82</answer>", false, "tag_in_think"},
      {"<think>add</think><answer>82</answer></answer>", false, "text_after_answer"},
      {"<think>add</think></think><answer>82</answer>", false, "no_answer"},
      {"<think><think>add</think><answer>82</answer>", false, "tag_in_think"},
      {"<think>add</think><answer><answer>82</answer></answer>", false, "tag_in_answer"},
      {"<answer><think>add</think>82</answer>", false, "no_think"},
      {"</think><think>add<answer>82</answer>", false, "no_think"},
      {"<think>add</think><answer>82<think></answer>", false, "tag_in_answer"},
      {"<<think>>add<</think>><answer>82</answer>", false, "no_think"},
      {"<think>add</think><answer>82</answer", false, "answer_not_closed"},
      {"<think>a <thi</think><answer>82</answer>", false, "ok"},  // a broken tag is text
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
  CHECK(std::string(check("<think>add</think>\n<|im_end|>", false, rest).why) == "empty_answer");
  CHECK(check("<think>add</think>82<|im_end|>", false, rest).value == 1.f);
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

TEST_CASE("prefixes of every form of a good completion") {
  FormatOptions partial;
  partial.partial = true;
  FormatOptions rest;
  rest.answer_tag = false;
  struct Form {
    std::string text;
    bool opened;
  };
  for (const Form& form : std::vector<Form>{{"\r\n<think>\r\nadd\r\n</think>\r\n<answer>\r\n82\r\n</answer>", false},
                                            {"add `</think>` is a tag</think><answer>82</answer>", true},
                                            {"<think>```\n<answer>\n```\nadd</think> <answer>\u516B</answer>", false}}) {
    float last = 0;
    for (std::size_t n = 0; n <= form.text.size(); ++n) {
      const std::string prefix = form.text.substr(0, n);
      CAPTURE(prefix);
      CHECK(check(prefix, form.opened).value == (n == form.text.size() ? 1.f : 0.f));
      const float value = check(prefix, form.opened, partial).value;
      CHECK(value >= last);
      last = value;
    }
    CHECK(last == 1.f);
  }
  // With an untagged answer the form is right from the answer's first word on.
  const std::string untagged = "<think>add</think>\n82";
  for (std::size_t n = 0; n <= untagged.size(); ++n)
    CHECK(check(untagged.substr(0, n), false, rest).value == (n >= untagged.size() - 1 ? 1.f : 0.f));
}

TEST_CASE("tag_count: order, once each, no line ends needed, nothing for empty blocks (open-r1: all four wrong)") {
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
  const auto seconds = [](const std::string& head, const std::string& unit, const std::string& tail, std::size_t size) {
    std::string text = head;
    while (text.size() < size) text += unit;
    text += tail;
    FormatOptions rest;
    rest.answer_tag = false;
    const auto start = std::chrono::steady_clock::now();
    (void)check(text);
    (void)check(text, true, rest);
    (void)count_tags(text, false);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  for (const std::string unit : {"<think>", "`", "``a`b```c", "<", "</think>", "` ", "\n```\n", "<answer>", "` `` ", " ", "\r\n",
                                 "\u3000", "</answer>", "<|im_end|>", "</think><answer>", "word ", ".", "\xFF", "`a\n"}) {
    for (const std::string head : {"", "<think>", "<think>a</think>", "<think>a</think><answer>", "<think>a</think><answer>b</answer>"}) {
      for (const std::string tail : {"", "</think><answer>82</answer>"}) {
        CAPTURE(unit);
        CAPTURE(head);
        const double small = seconds(head, unit, tail, 125'000), large = seconds(head, unit, tail, 1'000'000);
        CHECK(large < std::max(24 * small, 0.5));  // 8 if linear, 64 if quadratic; the machine may be busy
      }
    }
  }
}

}  // namespace
}  // namespace r1
