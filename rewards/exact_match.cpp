#include "rewards/exact_match.h"

#include <re2/re2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "rewards/completion_text.h"

namespace r1 {

std::string normalised_text(std::string_view utf8, bool ignore_case, bool ignore_punctuation) {
  icu::UnicodeString text =
      icu::UnicodeString::fromUTF8(icu::StringPiece(utf8.data(), static_cast<int32_t>(utf8.size())));
  if (ignore_case) text.foldCase();
  icu::UnicodeString out;
  bool space = false;
  for (int32_t i = 0; i < text.length(); i = text.moveIndex32(i, 1)) {
    const UChar32 c = text.char32At(i);
    if (u_isUWhiteSpace(c)) {
      space = true;
      continue;
    }
    if (space && out.length() > 0) out.append(static_cast<UChar32>(' '));
    space = false;
    out.append(c);
  }
  if (ignore_punctuation) {
    // Signs and symbols such as - + $ stay: they are part of answers.
    const auto mark = [](UChar32 c) { return c == ' ' || (u_ispunct(c) && c != '-' && c != '%' && c != '#'); };
    int32_t begin = 0, end = out.length();
    while (begin < end && mark(out.char32At(begin))) begin = out.moveIndex32(begin, 1);
    while (end > begin && mark(out.char32At(out.moveIndex32(end, -1)))) end = out.moveIndex32(end, -1);
    if (begin < end) out = icu::UnicodeString(out, begin, end - begin);  // else marks only: they are the answer
  }
  std::string bytes;
  out.toUTF8String(bytes);
  return bytes;
}

namespace {

// What the rewards of this file share: which part of the completion counts and whether it must have ended.
class TextReward : public RewardFunction {
 public:
  TextReward(ConfigReader& o, bool require_end)
      : after_think_(o.get<bool>("after_think", true)), require_end_(o.get<bool>("require_end", require_end)) {}
  bool judges_answer() const override { return true; }

  void score(const SampleGroup& group, std::span<RewardResult> out) const override {
    const bool prefilled = prompt_opens_think(group.prompt);
    for (std::size_t i = 0; i < out.size(); ++i) {
      const Completion& c = group.completions[i];
      const AnswerRegion region = after_think_ ? after_think(c.text, prefilled) : AnswerRegion{c.text, true};
      judge(group.prompt, region.text, out[i]);
      if (out[i].verdict == Verdict::kAbstain) continue;
      if (!region.closed) set(out[i], Verdict::kUnparsed, "think_not_closed");
      if (require_end_ && !ended(c)) set(out[i], Verdict::kWrong, "truncated");
      out[i].value = out[i].verdict == Verdict::kCorrect ? 1.f : 0.f;
    }
  }

 protected:
  static void set(RewardResult& out, Verdict verdict, std::string_view detail) {
    out.verdict = verdict;
    out.detail = detail;
  }
  // Sets verdict, detail and columns; leaves kAbstain where the prompt cannot be judged.
  virtual void judge(const Prompt& prompt, std::string_view text, RewardResult& out) const = 0;

 private:
  bool after_think_, require_end_;
};

class ExactMatch : public TextReward {
 public:
  explicit ExactMatch(ConfigReader& o) : TextReward(o, false) {
    read_ = o.get_choice("read", "answer", std::vector<std::string>{"answer", "text", "last_line", "end"});
    ignore_case_ = o.get<bool>("ignore_case", true);
    ignore_punctuation_ = o.get<bool>("ignore_punctuation", true);
  }
  std::string_view name() const override { return "exact_match"; }
  std::string check_prompt(const Prompt& prompt) const override {
    return normal(prompt.reference).empty() ? "no gold answer (data.answer, or --answer of a command, names the column)" : "";
  }
  std::vector<KnownAnswer> known_answers(const Prompt& prompt) const override {
    if (normal(prompt.reference).empty()) return {};
    Completion good, bad;
    good.text = (prompt_opens_think(prompt) ? "working</think>" : "") + prompt.reference;
    bad.text = good.text + " and more";
    good.stop = bad.stop = StopReason::kEos;
    return {{"the gold text", good, Verdict::kCorrect, 1.f}, {"the gold text and more", bad, Verdict::kWrong, 0.f}};
  }

 protected:
  void judge(const Prompt& prompt, std::string_view text, RewardResult& out) const override {
    const std::string gold = normal(prompt.reference);
    if (gold.empty()) {
      out.detail = "no_gold";
      return;
    }
    if (read_ == "answer") {
      if (const TaggedAnswer tag = last_answer_tag(text); tag.found) text = tag.text;
    } else if (read_ == "last_line") {
      text = trim(text);
      text = text.substr(text.rfind('\n') + 1);  // npos + 1 = 0
    }
    const std::string answer = normal(text);
    out.columns["gold_parsed"] = gold;
    out.columns["answer_parsed"] = answer.size() <= 200 ? answer : answer.substr(0, 200);
    if (answer.empty()) return set(out, Verdict::kUnparsed, "empty");
    bool equal = answer == gold;
    if (read_ == "end" && !equal) {  // whole words only: "forty two" does not end "...sixty-forty two" by letters
      equal = answer.ends_with(gold) && answer[answer.size() - gold.size() - 1] == ' ';
    }
    set(out, equal ? Verdict::kCorrect : Verdict::kWrong, equal ? "ok" : "differs");
  }

 private:
  std::string normal(std::string_view text) const { return normalised_text(text, ignore_case_, ignore_punctuation_); }
  std::string read_;
  bool ignore_case_, ignore_punctuation_;
};

class RegexReward : public TextReward {
 public:
  explicit RegexReward(ConfigReader& o)
      : TextReward(o, false), pattern_(o.require<std::string>("pattern"), re2::RE2::Quiet) {
    if (!pattern_.ok()) o.fail("pattern", message("is no RE2 pattern: ", pattern_.error()));
    full_ = o.get_choice("match", "search", std::vector<std::string>{"search", "full"}) == "full";
    gold_ = o.get<bool>("gold", false);
    if (gold_ && pattern_.NumberOfCapturingGroups() < 1)
      o.fail("gold", "the pattern needs a group (...) to compare with the gold text");
  }
  std::string_view name() const override { return "regex"; }
  bool judges_answer() const override { return gold_; }  // without the gold text it is a rule about form
  std::string check_prompt(const Prompt& prompt) const override {
    return gold_ && trim(prompt.reference).empty() ? "no gold answer (data.answer, or --answer of a command, names the column)" : "";
  }

 protected:
  void judge(const Prompt& prompt, std::string_view text, RewardResult& out) const override {
    re2::StringPiece rest(text.data(), text.size()), group;
    bool matched = false;
    std::string last;
    if (full_) {
      matched = gold_ ? re2::RE2::FullMatch(rest, pattern_, &group) : re2::RE2::FullMatch(rest, pattern_);
      if (matched && gold_) last = std::string(group);
    } else if (!gold_) {
      matched = re2::RE2::PartialMatch(rest, pattern_);
    } else {
      while (re2::RE2::FindAndConsume(&rest, pattern_, &group)) {
        matched = true;
        last = std::string(group);
        if (rest.empty()) break;
        if (group.empty() && rest.data() == group.data()) rest.remove_prefix(1);  // an empty match must move on
      }
    }
    if (!matched) return set(out, gold_ ? Verdict::kUnparsed : Verdict::kWrong, "no_match");
    if (!gold_) return set(out, Verdict::kCorrect, "ok");
    out.columns["answer_parsed"] = last.substr(0, 200);
    const bool equal = trim(last) == trim(prompt.reference);
    set(out, equal ? Verdict::kCorrect : Verdict::kWrong, equal ? "ok" : "differs");
  }

 private:
  re2::RE2 pattern_;
  bool full_ = false, gold_ = false;
};

class WordsBelow : public TextReward {
 public:
  explicit WordsBelow(ConfigReader& o) : TextReward(o, true) {
    limit_ = o.find<int>("limit");
    if (limit_ && *limit_ < 2) o.fail("limit", "must be at least 2 (one word is below it)");
    column_ = limit_ ? "" : o.get<std::string>("column", "limit");
    if (limit_) o.reject("column", "has no effect with limit");
  }
  std::string_view name() const override { return "words_below"; }
  std::string check_prompt(const Prompt& prompt) const override {
    return limit_of(prompt) >= 2 ? "" : message("column '", column_, "' must be a whole number of at least 2");
  }

 protected:
  void judge(const Prompt& prompt, std::string_view text, RewardResult& out) const override {
    const std::int64_t limit = limit_of(prompt);
    if (limit < 2) {
      out.detail = "no_limit";
      return;
    }
    std::int64_t words = 0;
    bool inside = false;
    for (const char c : text) {
      const bool space = c == ' ' || (c >= '\t' && c <= '\r');
      words += !space && !inside;
      inside = !space;
    }
    out.columns["words"] = std::to_string(words);
    if (words == 0 || !has_word(text)) return set(out, Verdict::kUnparsed, "empty");
    set(out, words < limit ? Verdict::kCorrect : Verdict::kWrong, words < limit ? "ok" : "too_long");
  }

 private:
  std::int64_t limit_of(const Prompt& prompt) const {
    if (limit_) return *limit_;
    const auto it = prompt.columns.find(column_);
    if (it == prompt.columns.end()) return 0;
    const auto json = nlohmann::json::parse(it->second, nullptr, false);
    return json.is_number_integer() ? json.get<std::int64_t>() : 0;
  }
  std::optional<int> limit_;
  std::string column_;
};

}  // namespace

std::unique_ptr<RewardFunction> make_exact_match_reward(ConfigReader& options) {
  return std::make_unique<ExactMatch>(options);
}
std::unique_ptr<RewardFunction> make_regex_reward(ConfigReader& options) {
  return std::make_unique<RegexReward>(options);
}
std::unique_ptr<RewardFunction> make_words_below_reward(ConfigReader& options) {
  return std::make_unique<WordsBelow>(options);
}

}  // namespace r1
