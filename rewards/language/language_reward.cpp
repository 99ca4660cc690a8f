#include "rewards/language/language_reward.h"

#include <algorithm>
#include <cstdio>
#include <vector>

#include "core/error.h"
#include "rewards/completion_text.h"
#include "rewards/language/consistency.h"
#include "rewards/language/detector.h"

namespace r1 {
namespace {

constexpr const char* kNoDetector =
    "none (built without libcld2-dev): languages of one script are not told apart, e.g. German from English";

std::string listed(const std::map<std::string, std::size_t>& others) {
  std::string out;
  for (const auto& [label, words] : others) out += message(out.empty() ? "" : " ", label, ":", words);
  return out;
}

std::string decimal(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4f", value);
  return text;
}

class LanguageReward : public RewardFunction {
 public:
  explicit LanguageReward(ConfigReader& o) {
    const std::string wanted = o.get<std::string>("language", "prompt");
    if (wanted != "prompt") {
      fixed_ = find_language(wanted);
      if (!fixed_) o.fail("language", message("'", wanted, "' is not known; one of prompt, ", language_codes()));
      o.reject("column", "has no effect with a fixed language");
    } else {
      column_ = o.get<std::string>("column", "language");
    }
    const std::string region =
        o.get_choice("region", "think", std::vector<std::string>{"think", "answer", "all"});
    region_ = region == "think"    ? LanguageRegion::kThink
              : region == "answer" ? LanguageRegion::kAnswer
                                   : LanguageRegion::kAll;
    options_.allowance = o.get_in<double>("allowance", 0.02, 0.0, 0.5);
    options_.min_words = static_cast<std::size_t>(o.get_in<int>("min_words", 5, 1, 1'000'000));
    const std::string detector = o.get_choice("detector", "auto", std::vector<std::string>{"auto", "cld2", "none"});
    if (detector == "cld2" && !detector_built_in())
      o.fail("detector", "cld2 is not in this build; install libcld2-dev and build again, or set auto or none");
    options_.use_detector = detector != "none" && detector_built_in();
    detector_ = detector == "none"    ? "none (by option)"
                : detector_built_in() ? std::string(detector_name())
                                      : kNoDetector;
  }
  std::string_view name() const override { return "language"; }

  std::string check_prompt(const Prompt& prompt) const override {
    if (expected(prompt)) return {};
    const std::string named = column_value(prompt);
    if (!named.empty())
      return message("column '", column_, "' names an unknown language '", named, "'; known: ", language_codes());
    return message("the language of the question cannot be told; add a column '", column_,
                   "' to the data or set the reward's option language");
  }

  void score(const SampleGroup& group, std::span<RewardResult> out) const override {
    const Language* target = expected(group.prompt);
    const bool opened = prompt_opens_think(group.prompt);
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (!target) {
        out[i].detail = "no_language";
        continue;
      }
      const Consistency c = language_consistency(language_region(group.completions[i].text, opened, region_), *target, options_);
      out[i].value = static_cast<float>(c.score);
      out[i].detail = c.defined ? "ok" : "too_few_words";
      auto& columns = out[i].columns;
      columns["score"] = decimal(c.score);
      columns["target_words"] = std::to_string(c.target_words);
      columns["other_words"] = std::to_string(c.other_words);
      columns["unsure_words"] = std::to_string(c.unsure_words);
      columns["other_languages"] = listed(c.others);
      columns["language"] = target->code;
      columns["detector"] = detector_;
    }
  }

  std::vector<KnownAnswer> known_answers(const Prompt& prompt) const override {
    if (!expected(prompt) || region_ == LanguageRegion::kAnswer) return {};
    Completion formula;
    formula.text = prompt_opens_think(prompt) ? "$x = 3$</think>" : "<think>$x = 3$</think>";
    formula.stop = StopReason::kEos;
    return {{"a formula and no word", formula, Verdict::kAbstain, 0.f}};
  }

 private:
  std::string column_value(const Prompt& prompt) const {
    const auto at = prompt.columns.find(column_);
    if (at == prompt.columns.end() || at->second == "null") return {};
    std::string_view text = trim(at->second);  // JSON text, or plain where a caller made the row
    if (text.size() >= 2 && text.front() == '"' && text.back() == '"') text = text.substr(1, text.size() - 2);
    return std::string(text);
  }
  // A column that names no known language is an error of the data, never a reason to guess another language.
  const Language* expected(const Prompt& prompt) const {
    if (fixed_) return fixed_;
    if (const std::string named = column_value(prompt); !named.empty()) return find_language(named);
    // The system message is often English whatever the question is.
    for (auto m = prompt.messages.rbegin(); m != prompt.messages.rend(); ++m) {
      if (m->role == "user") return guess_language(m->content, options_.use_detector);
    }
    return guess_language(prompt.text, options_.use_detector);
  }

  const Language* fixed_ = nullptr;
  std::string column_, detector_;
  LanguageRegion region_ = LanguageRegion::kThink;
  ConsistencyOptions options_;
};

}  // namespace

std::string_view language_region(std::string_view completion, bool opened_by_prompt, LanguageRegion region) {
  if (region == LanguageRegion::kAll) return completion;
  const AnswerRegion answer = after_think(completion, opened_by_prompt);
  if (region == LanguageRegion::kAnswer) return answer.text;
  if (!answer.closed || answer.text.data() == completion.data()) return completion;
  return completion.substr(0, static_cast<std::size_t>(answer.text.data() - completion.data()));
}

std::unique_ptr<RewardFunction> make_language_reward(ConfigReader& options) {
  return std::make_unique<LanguageReward>(options);
}

}  // namespace r1
