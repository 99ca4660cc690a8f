#include "rewards/math/math_reward.h"

#include <algorithm>
#include <string>
#include <vector>

#include "core/error.h"
#include "rewards/answer_extract.h"
#include "rewards/completion_text.h"
#include "rewards/math/check.h"

namespace r1 {
namespace {

using Names = std::vector<std::string>;

class MathReward : public RewardFunction {
 public:
  explicit MathReward(ConfigReader& o) {
    static const Names kNames = {"auto", "boxed", "tag", "hash", "phrase", "last_number", "whole"};
    static constexpr AnswerSource kSources[] = {AnswerSource::kAuto, AnswerSource::kBoxed,  AnswerSource::kTag,
                                                AnswerSource::kHash, AnswerSource::kPhrase, AnswerSource::kLastNumber,
                                                AnswerSource::kWhole};
    const std::string source = o.get_choice("extract", "auto", kNames);
    source_ = kSources[std::find(kNames.begin(), kNames.end(), source) - kNames.begin()];
    require_end_ = o.get<bool>("require_end", false);
    after_think_ = o.get<bool>("after_think", true);
    several_wrong_ = o.get_choice("several_boxes", "wrong", Names{"wrong", "last"}) == "wrong";
    check_ = math::read_check_options(o);
    correct_ = o.get_in<float>("correct", 1.f, -1e6f, 1e6f);
    wrong_ = o.get_in<float>("wrong", 0.f, -1e6f, 1e6f);
    if (correct_ <= wrong_) o.fail("correct", message("must be larger than wrong (", wrong_, ")"));
  }

  std::string_view name() const override { return "math"; }
  bool judges_answer() const override { return true; }

  std::string check_prompt(const Prompt& prompt) const override {
    if (prompt.reference.empty()) return "no gold answer (data.answer, or --answer of a command, names the column)";
    const auto shown = [&] {
      return message("unreadable gold answer '", prompt.reference.substr(0, 60), prompt.reference.size() > 60 ? "..." : "", "'");
    };
    const auto gold = math::read_gold(prompt.reference);
    if (!gold) return shown();
    if (gold->unreadable()) return message(shown(), ": past a limit of the parser (", gold->parsed.why, ")");
    if (!gold->choice && (gold->parsed.why == "syntax" || gold->parsed.why == "character"))
      return message(shown(), ": neither mathematics nor words (", gold->parsed.why,
                     "); an equal text alone would be right");
    return {};
  }

  void score(const SampleGroup& group, std::span<RewardResult> out) const override {
    const auto gold = math::read_gold(group.prompt.reference);
    const std::string shown = gold ? to_string(*gold) : "";
    const bool prefilled = prompt_opens_think(group.prompt);
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (!gold) {
        out[i].detail = "unreadable_gold";  // abstains
        continue;
      }
      judge(*gold, group.completions[i], prefilled, out[i]);
      out[i].columns["gold_parsed"] = shown;
    }
  }

  std::vector<KnownAnswer> known_answers(const Prompt& prompt) const override {
    const auto gold = math::read_gold(prompt.reference);
    if (!gold) return {};
    const std::string think = prompt_opens_think(prompt) ? "working</think>" : "";
    const auto make = [&](std::string what, const std::string& body, Verdict verdict, float value) {
      Completion c;
      c.text = think + dress(body);
      c.stop = StopReason::kEos;
      return KnownAnswer{std::move(what), std::move(c), verdict, value};
    };
    std::vector<KnownAnswer> known = {make("the gold answer", gold->text, Verdict::kCorrect, correct_)};
    if (gold->is_number()) {
      const mpq_class other = gold->parsed.tree.numbers[0].value + 1;
      known.push_back(make("a number that is 1 larger", other.get_str(), Verdict::kWrong, wrong_));
    } else {
      known.push_back(make("another text", "not this one", Verdict::kWrong, wrong_));
    }
    known.push_back({"no answer", make("", "", Verdict::kUnparsed, wrong_).completion, Verdict::kUnparsed, wrong_});
    known.back().completion.text = think + "I do not know.";
    if (source_ == AnswerSource::kWhole) known.pop_back();
    return known;
  }

 private:
  // An answer in the form that the extraction of this reward reads.
  std::string dress(const std::string& answer) const {
    switch (source_) {
      case AnswerSource::kTag: return "<answer>" + answer + "</answer>";
      case AnswerSource::kHash: return "#### " + answer;
      case AnswerSource::kPhrase: return "The final answer is " + answer;
      case AnswerSource::kLastNumber:
      case AnswerSource::kWhole: return answer;
      default: return "So we get \\boxed{" + answer + "}.";
    }
  }

  bool same(const math::Answer& a, const math::Answer& b) const {
    return math::check(a, b, check_).outcome == math::Outcome::kEqual;
  }

  void judge(const math::Answer& gold, const Completion& completion, bool prefilled, RewardResult& out) const {
    const auto settle = [&](Verdict verdict, std::string detail) {
      out.verdict = verdict;
      out.value = verdict == Verdict::kCorrect ? correct_ : wrong_;
      out.detail = std::move(detail);
    };
    const AnswerRegion region =
        after_think_ ? after_think(completion.text, prefilled) : AnswerRegion{completion.text, true};
    if (!region.closed) return settle(Verdict::kUnparsed, "think_not_closed");
    const std::string plain = plain_forms(region.text);
    const ExtractedAnswer found = extract_answer(plain, source_);
    if (!found.found)
      return settle(found.why_not == "several" ? Verdict::kWrong : Verdict::kUnparsed, std::string(found.why_not));
    const math::Answer answer = several_wrong_ ? math::read_extracted(found, check_) : math::read_answer(found.text);
    const math::Verdict v = math::check(gold, answer, check_);
    const bool equal = v.outcome == math::Outcome::kEqual, undecided = v.outcome == math::Outcome::kUndecided;
    out.columns["answer_parsed"] = v.answer_read;
    out.columns["answer_from"] = found.how;
    out.columns["answer_verdict"] = equal ? "equal" : undecided ? "undecided" : "different";
    out.columns["answer_proof"] = v.proved ? "proved" : "probable";
    if (require_end_ && !ended(completion)) return settle(Verdict::kWrong, "truncated");
    if (several_wrong_) {
      // Every earlier box must say the same. Equal texts are common and cheap.
      std::string_view agreed = found.text;
      for (const std::string_view other : found.others) {
        if (other == agreed) continue;
        if (!same(answer, math::read_answer(other))) return settle(Verdict::kWrong, "several_boxes");
        agreed = other;
      }
    }
    if (undecided) return settle(Verdict::kUnparsed, message("undecided_", v.reason));
    settle(equal ? Verdict::kCorrect : Verdict::kWrong, std::string(!equal && !found.beside.empty() ? "several_boxes" : v.reason));
  }

  AnswerSource source_;
  bool require_end_, after_think_, several_wrong_;
  math::CheckOptions check_;
  float correct_, wrong_;
};

}  // namespace

std::unique_ptr<RewardFunction> make_math_reward(ConfigReader& options) {
  return std::make_unique<MathReward>(options);
}

}  // namespace r1
