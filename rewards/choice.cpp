#include "rewards/choice.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "rewards/answer_extract.h"
#include "rewards/completion_text.h"
#include "rewards/exact_match.h"

namespace r1 {
namespace {

constexpr bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
constexpr bool is_word(char c) { return is_letter(c) || (c >= '0' && c <= '9') || c == '_'; }

// Skips what people put around a letter; "text" and "mathrm" of LaTeX too.
std::string_view skip_marks(std::string_view s) {
  static constexpr std::string_view kMarks[] = {"\\textbf", "\\text", "\\mathrm", "\\mathbf", "\\(", "option", "choice", "Option", "Choice",
                                                "\xEF\xBC\x88", " ", "*", "_", "(", "[", "{", "$", "\"", "'", "`"};
  for (bool moved = true; moved;) {
    moved = false;
    for (const std::string_view mark : kMarks)
      if (s.starts_with(mark)) s.remove_prefix(mark.size()), moved = true;
  }
  return s;
}

// The letter at the start of s, behind marks; nothing that makes it part of a word or formula may follow.
char letter_at(std::string_view s, int choices) {
  s = skip_marks(s);
  if (s.empty() || s[0] < 'A' || s[0] >= 'A' + choices) return 0;
  if (s.size() > 1 && (is_word(s[1]) || s[1] == '\'' || s[1] == '^' || s[1] == '=')) return 0;
  // "answer is A proton": an article. "A," "A." "A)" "A:" "A -" and the end of the line are choices.
  if (s.size() > 2 && s[1] == ' ' && is_letter(s[2])) return 0;
  return s[0];
}

struct Found {
  std::size_t at = 0;
  char letter = 0;
};

void keep_last(Found& best, std::size_t at, char letter) {
  if (letter && (!best.letter || at >= best.at)) best = {at, letter};
}

// After the word "answer": "is", ":", "=", or a letter straight away behind marks.
void after_phrase(std::string_view s, int choices, Found& best) {
  static constexpr std::string_view kWords[] = {"answer", "Answer", "ANSWER", "\xE7\xAD\x94\xE6\xA1\x88"};
  static constexpr std::string_view kJoins[] = {"\xE6\x98\xAF", "\xE4\xB8\xBA", "\xEF\xBC\x9A", "is", "would be", ":", "=", " ", "*", "_"};
  for (const std::string_view word : kWords)
    for (std::size_t at = s.find(word); at != std::string_view::npos; at = s.find(word, at + word.size())) {
      if (at > 0 && is_letter(s[at - 1])) continue;
      std::string_view rest = s.substr(at + word.size());
      bool joined = false;
      for (bool moved = true; moved;) {
        moved = false;
        for (const std::string_view join : kJoins)
          if (rest.starts_with(join)) rest.remove_prefix(join.size()), moved = true, joined = joined || join != " ";
      }
      if (joined) keep_last(best, at, letter_at(rest, choices));
    }
}

// The last "(B)" or "**B**", or a last line that is the letter alone.
char loose_letter(std::string_view s, int choices) {
  const std::string_view whole = trim(s);
  const std::string_view line = trim(whole.substr(whole.rfind('\n') + 1));
  const std::string_view bare = skip_marks(line);
  if (!bare.empty() && bare.size() <= 4 && letter_at(line, choices) && std::none_of(bare.begin() + 1, bare.end(), is_word)) return bare[0];
  char last = 0;
  for (std::size_t i = 1; i + 1 < s.size(); ++i) {
    if (s[i] < 'A' || s[i] >= 'A' + choices) continue;
    const bool round = s[i - 1] == '(' && s[i + 1] == ')';
    const bool bold = i >= 2 && s.substr(i - 2, 2) == "**" && s.substr(i + 1, 2) == "**";
    if (round || bold) last = s[i];
  }
  return last;
}

class ChoiceReward : public RewardFunction {
 public:
  explicit ChoiceReward(ConfigReader& o) {
    any_ = o.get_choice("read", "marked", std::vector<std::string>{"marked", "any"}) == "any";
    after_think_ = o.get<bool>("after_think", true);
    require_end_ = o.get<bool>("require_end", false);
  }
  std::string_view name() const override { return "choice"; }
  bool judges_answer() const override { return true; }

  std::string check_prompt(const Prompt& prompt) const override {
    const int n = static_cast<int>(choices_of(prompt).size());
    const std::string_view gold = trim(prompt.reference);
    if (gold.size() == 1 && gold[0] >= 'A' && gold[0] < 'A' + n) return {};
    return message("the gold answer '", prompt.reference.substr(0, 40), "' is no letter from A to ", static_cast<char>('A' + n - 1));
  }

  void score(const SampleGroup& group, std::span<RewardResult> out) const override {
    if (!check_prompt(group.prompt).empty()) {
      for (RewardResult& r : out) r.detail = "no_gold";  // abstains
      return;
    }
    const std::vector<std::string> choices = choices_of(group.prompt);
    const char gold = trim(group.prompt.reference)[0];
    const bool prefilled = prompt_opens_think(group.prompt);
    for (std::size_t i = 0; i < out.size(); ++i) {
      const Completion& c = group.completions[i];
      const AnswerRegion region = after_think_ ? after_think(c.text, prefilled) : AnswerRegion{c.text, true};
      char letter = region.closed ? chosen_letter(region.text, static_cast<int>(choices.size()), any_) : 0;
      if (!letter && any_ && region.closed) letter = by_text(region.text, choices);
      RewardResult& r = out[i];
      r.value = 0.f;
      r.columns["gold_parsed"] = std::string(1, gold);
      if (letter) r.columns["answer_parsed"] = std::string(1, letter);
      r.verdict = !letter ? Verdict::kUnparsed : letter == gold ? Verdict::kCorrect : Verdict::kWrong;
      r.detail = !region.closed ? "think_not_closed" : !letter ? "no_answer" : letter == gold ? "ok" : "differs";
      if (require_end_ && !ended(c)) r.verdict = Verdict::kWrong, r.detail = "truncated";
      if (r.verdict == Verdict::kCorrect) r.value = 1.f;
    }
  }

 private:
  static std::vector<std::string> choices_of(const Prompt& prompt) {
    const auto it = prompt.columns.find("choices");
    const auto json = it == prompt.columns.end() ? nlohmann::json() : nlohmann::json::parse(it->second, nullptr, false);
    std::vector<std::string> texts;
    if (json.is_array() && json.size() >= 2 && json.size() <= 26)
      for (const auto& c : json) texts.push_back(c.is_string() ? c.get<std::string>() : c.dump());
    return texts.empty() ? std::vector<std::string>(4) : texts;
  }
  // A box or tag with a choice's own text in it; a text that two choices share names neither.
  static char by_text(std::string_view region, const std::vector<std::string>& choices) {
    const TaggedAnswer tag = last_answer_tag(region);
    const std::vector<std::string_view> boxes = boxed_contents(tag.found ? tag.text : region);
    if (!tag.found && boxes.empty()) return 0;
    const std::string answer = normalised_text(boxes.empty() ? tag.text : boxes.back(), true, true);
    char found = 0;
    for (std::size_t i = 0; i < choices.size(); ++i) {
      if (answer.empty() || normalised_text(choices[i], true, true) != answer) continue;
      if (found) return 0;
      found = static_cast<char>('A' + i);
    }
    return found;
  }

  bool any_ = false, after_think_ = true, require_end_ = false;
};

}  // namespace

char chosen_letter(std::string_view text, int choices, bool any) {
  Found best;
  if (const TaggedAnswer tag = last_answer_tag(text); tag.found)
    keep_last(best, static_cast<std::size_t>(tag.text.data() - text.data()), letter_at(trim(tag.text), choices));
  for (const std::string_view box : boxed_contents(text))
    keep_last(best, static_cast<std::size_t>(box.data() - text.data()), letter_at(box, choices));
  after_phrase(text, choices, best);
  if (best.letter || !any) return best.letter;
  return loose_letter(text, choices);
}

std::unique_ptr<RewardFunction> make_choice_reward(ConfigReader& options) { return std::make_unique<ChoiceReward>(options); }

}  // namespace r1
