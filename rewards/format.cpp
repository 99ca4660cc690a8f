#include "rewards/format.h"

#include <algorithm>
#include <array>
#include <vector>

#include "core/error.h"
#include "rewards/completion_text.h"

namespace r1 {
namespace {

constexpr std::array<std::string_view, 4> kTags = {"<think>", "</think>", "<answer>", "</answer>"};
constexpr std::size_t kNone = std::string_view::npos;

// The index into kTags of the tag at text[i], or -1.
int tag_at(std::string_view text, std::size_t i) {
  for (int t = 0; t < 4; ++t) {
    if (text.substr(i).starts_with(kTags[static_cast<std::size_t>(t)])) return t;
  }
  return -1;
}

// The end of the code span that begins with the backticks at `i`, or kNone if they open none: a run of n backticks is
// closed by the next run of n, on the same line unless n >= 3. `last_run[n]` is where the last run of that length
// begins, so that failing look-ups cost nothing.
std::size_t code_span_end(std::string_view text, std::size_t i, std::size_t run,
                          const std::vector<std::size_t>& last_run) {
  if (run >= last_run.size() || last_run[run] == kNone || last_run[run] <= i) return kNone;
  for (std::size_t j = i + run; j < text.size();) {
    if (text[j] == '\n' && run < 3) return kNone;
    if (text[j] != '`') {
      ++j;
      continue;
    }
    std::size_t end = j;
    while (end < text.size() && text[end] == '`') ++end;
    if (end - j == run) return end;
    j = end;
  }
  return kNone;
}

struct FoundTag {
  std::size_t at = kNone;
  int tag = -1;
};

// The first tag from `from` on, outside code spans if those are skipped.
FoundTag next_tag(std::string_view text, std::size_t from, bool skip_code) {
  std::vector<std::size_t> last_run;
  if (skip_code && text.find('`', from) != kNone) {
    last_run.assign(17, kNone);  // longer fences are not code
    for (std::size_t i = from; i < text.size();) {
      if (text[i] != '`') {
        ++i;
        continue;
      }
      std::size_t end = i;
      while (end < text.size() && text[end] == '`') ++end;
      if (end - i < last_run.size()) last_run[end - i] = i;
      i = end;
    }
  }
  for (std::size_t i = from; i < text.size();) {
    if (text[i] == '`' && !last_run.empty()) {
      std::size_t end = i;
      while (end < text.size() && text[end] == '`') ++end;
      const std::size_t span = code_span_end(text, i, end - i, last_run);
      i = span == kNone ? end : span;
      continue;
    }
    if (text[i] == '<') {
      if (const int tag = tag_at(text, i); tag >= 0) return {i, tag};
    }
    ++i;
  }
  return {};
}

std::size_t skip_space(std::string_view text, std::size_t i) {
  while (i < text.size()) {
    const std::size_t after = after_white_space(text, i);
    if (after == i) break;
    i = after;
  }
  return i;
}

// Text that was not decoded by this program may still hold the model's end token.
std::size_t skip_end_tokens(std::string_view text, std::size_t i) {
  static constexpr auto kEnds = std::to_array<std::string_view>(
      {"<|im_end|>", "<|endoftext|>", "</s>", "<|eot_id|>", "<|end_of_text|>", "<|end|>", "<end_of_turn>", "<eos>",
       "<\uFF5Cend\u2581of\u2581sentence\uFF5C>"});
  for (;;) {
    i = skip_space(text, i);
    const auto end = std::find_if(kEnds.begin(), kEnds.end(), [&](auto e) { return text.substr(i).starts_with(e); });
    if (end == kEnds.end()) return i;
    i += end->size();
  }
}

// Walks the form; returns quarters earned and the first fault.
struct Walk {
  int quarters = 0;
  const char* fault = "ok";
};
Walk walk(std::string_view text, bool opened_by_prompt, StopReason stop, const FormatOptions& options) {
  std::size_t i = opened_by_prompt ? 0 : skip_space(text, 0);
  int earned = 0;
  if (!opened_by_prompt) {
    if (tag_at(text, i) != 0) return {0, "no_think"};
    i += kTags[0].size();
    earned = 1;
  }
  const FoundTag close = next_tag(text, i, options.code_spans);
  if (close.tag < 0) return {earned, "think_not_closed"};
  if (close.tag != 1) return {earned, "tag_in_think"};
  if (!has_word(text.substr(i, close.at - i))) return {earned, "empty_think"};
  earned = 2;
  i = skip_space(text, close.at + kTags[1].size());
  if (!options.answer_tag) {
    const FoundTag stray = next_tag(text, i, options.code_spans);
    if (stray.tag >= 0) return {earned, "tag_in_answer"};
    const bool only_end = skip_end_tokens(text, i) == text.size();
    if (only_end || !has_word(text.substr(i))) return {earned, "empty_answer"};
    return {4, "ok"};
  }
  if (i == text.size()) return {earned, "no_answer"};
  if (tag_at(text, i) != 2) return {earned, next_tag(text, i, false).tag == 2 ? "text_before_answer" : "no_answer"};
  i += kTags[2].size();
  earned = 3;
  const FoundTag end = next_tag(text, i, false);
  const bool cut = end.tag < 0 && options.stop_closes_answer && stop == StopReason::kStop;
  if (end.tag < 0 && !cut) return {earned, "answer_not_closed"};
  if (!cut && end.tag != 3) return {earned, "tag_in_answer"};
  if (!has_word(text.substr(i, cut ? kNone : end.at - i))) return {earned, "empty_answer"};
  if (!cut && skip_end_tokens(text, end.at + kTags[3].size()) != text.size()) return {earned, "text_after_answer"};
  return {4, "ok"};
}

class FormatReward : public RewardFunction {
 public:
  explicit FormatReward(ConfigReader& o) {
    options_.answer_tag = o.get<bool>("answer_tag", true);
    options_.partial = o.get<bool>("partial", false);
    options_.code_spans = o.get<bool>("code_spans", true);
    options_.stop_closes_answer = o.get<bool>("stop_closes_answer", false);
    if (!options_.answer_tag && options_.stop_closes_answer)
      o.fail("stop_closes_answer", "has no effect with answer_tag: false");
  }
  std::string_view name() const override { return "format"; }

  void score(const SampleGroup& group, std::span<RewardResult> out) const override {
    const bool opened = prompt_opens_think(group.prompt);
    for (std::size_t i = 0; i < out.size(); ++i) {
      const FormatVerdict v = check_format(group.completions[i].text, opened, group.completions[i].stop, options_);
      out[i].value = v.value;
      out[i].verdict = std::string_view(v.why) == "ok" ? Verdict::kCorrect : Verdict::kWrong;
      out[i].detail = v.why;
    }
  }

  std::vector<KnownAnswer> known_answers(const Prompt& prompt) const override {
    const std::string open = prompt_opens_think(prompt) ? "" : "<think>";
    const auto make = [](std::string what, std::string text, StopReason stop, Verdict verdict, float value) {
      Completion c;
      c.text = std::move(text);
      c.stop = stop;
      return KnownAnswer{std::move(what), std::move(c), verdict, value};
    };
    const std::string good = open + "working</think>\n" + (options_.answer_tag ? "<answer>5</answer>" : "5");
    return {make("the right form", good, StopReason::kEos, Verdict::kCorrect, 1),
            make("the right form, cut by the token limit", good, StopReason::kLength, Verdict::kWrong, 0),
            make("no tags", "5", StopReason::kEos, Verdict::kWrong, 0)};
  }

 private:
  FormatOptions options_;
};

class TagCountReward : public RewardFunction {
 public:
  std::string_view name() const override { return "tag_count"; }
  void score(const SampleGroup& group, std::span<RewardResult> out) const override {
    const bool opened = prompt_opens_think(group.prompt);
    for (std::size_t i = 0; i < out.size(); ++i) out[i].value = count_tags(group.completions[i].text, opened);
  }
};

}  // namespace

FormatVerdict check_format(std::string_view completion, bool opened_by_prompt, StopReason stop,
                           const FormatOptions& options) {
  if (stop == StopReason::kLength || stop == StopReason::kAborted) return {0, "truncated"};
  // A lone backtick in the thinking must not hide the closing tag, so the form is right if either reading of backticks
  // gives it.
  FormatOptions literal = options;
  literal.code_spans = false;
  Walk w = walk(completion, opened_by_prompt, stop, literal);
  if (w.quarters < 4 && options.code_spans) {
    const Walk with_code = walk(completion, opened_by_prompt, stop, options);
    if (with_code.quarters >= w.quarters) w = with_code;
  }
  const bool ok = w.quarters == 4;
  return {options.partial ? static_cast<float>(w.quarters) / 4.f : ok ? 1.f : 0.f, w.fault};
}

float count_tags(std::string_view completion, bool opened_by_prompt) {
  std::array<int, 4> count{};
  std::array<std::size_t, 4> first{};
  for (FoundTag t = next_tag(completion, 0, false); t.tag >= 0;) {
    const auto tag = static_cast<std::size_t>(t.tag);
    if (count[tag]++ == 0) first[tag] = t.at;
    t = next_tag(completion, t.at + kTags[tag].size(), false);
  }
  if (opened_by_prompt && count[0] > 0) return 0.f;  // opened twice
  int quarters = 0;
  std::size_t after = 0;
  for (std::size_t tag = opened_by_prompt ? 1 : 0; tag < 4; ++tag) {
    if (count[tag] != 1 || (quarters > 0 && first[tag] < after)) break;
    if (tag % 2 == 1 && !has_word(completion.substr(after, first[tag] - after))) break;
    after = first[tag] + kTags[tag].size();
    quarters = static_cast<int>(tag) + 1;
  }
  return static_cast<float>(quarters) / 4.f;
}

std::unique_ptr<RewardFunction> make_format_reward(ConfigReader& options) {
  return std::make_unique<FormatReward>(options);
}
std::unique_ptr<RewardFunction> make_tag_count_reward(ConfigReader&) { return std::make_unique<TagCountReward>(); }

}  // namespace r1
