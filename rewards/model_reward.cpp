#include "rewards/model_reward.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "core/error.h"
#include "rewards/completion_text.h"

namespace r1 {
namespace {

class ModelReward : public RewardFunction {
 public:
  ModelReward(const ModelRewardOptions& options, AnswerScorer scorer) : options_(options), scorer_(std::move(scorer)) {}

  std::string_view name() const override { return options_.safety ? "safety" : "helpful"; }
  int concurrency() const override { return 1; }

  void score(const SampleGroup& group, std::span<RewardResult> out) const override {
    const bool opened = prompt_opens_think(group.prompt);
    std::vector<std::string> answers;
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < group.completions.size(); ++i) {
      std::string text = shown(group.prompt, group.completions[i].text, opened);
      if (trim(text).empty()) {
        out[i].verdict = Verdict::kUnparsed;
        out[i].detail = options_.on == ModelRewardOptions::On::kSummary ? "no summary" : "empty";
        continue;
      }
      answers.push_back(std::move(text));
      places.push_back(i);
    }
    float worst = 0;
    if (!answers.empty()) {
      const std::vector<std::optional<float>> scores = scorer_.score(group.prompt, answers);
      R1_CHECK(scores.size() == answers.size(), scores.size(), " scores for ", answers.size(), " answers");
      bool any = false;
      for (std::size_t i = 0; i < scores.size(); ++i) {
        RewardResult& r = out[places[i]];
        if (!scores[i]) {
          r.detail = "too long for the model";
          continue;
        }
        r.value = options_.safety ? 1 / (1 + std::exp(-*scores[i])) : *scores[i];
        worst = any ? std::min(worst, *r.value) : *r.value;
        any = true;
      }
    }
    for (RewardResult& r : out)
      if (r.verdict == Verdict::kUnparsed) r.value = worst;
  }

 private:
  std::string shown(const Prompt& prompt, const std::string& completion, bool opened) const {
    if (options_.on == ModelRewardOptions::On::kSummary) return std::string(trim(after_think(completion, opened).text));
    return opened ? prompt.text.substr(prompt.text.rfind("<think>")) + completion : completion;
  }

  ModelRewardOptions options_;
  AnswerScorer scorer_;
};

}  // namespace

std::unique_ptr<RewardFunction> make_model_reward(const ModelRewardOptions& options, AnswerScorer scorer) {
  return std::make_unique<ModelReward>(options, std::move(scorer));
}

std::unique_ptr<RewardFunction> make_model_reward(ConfigReader& o, const std::function<AnswerScorer(ConfigReader&)>& make_scorer) {
  ModelRewardOptions options;
  options.safety = o.get_choice("kind", "helpful", std::array<std::string, 2>{"helpful", "safety"}) == "safety";
  const std::string on = o.get_choice("on", options.safety ? "response" : "summary", std::array<std::string, 2>{"summary", "response"});
  options.on = on == "summary" ? ModelRewardOptions::On::kSummary : ModelRewardOptions::On::kResponse;
  AnswerScorer scorer = make_scorer(o);
  Prompt prompt;
  prompt.text = "Hello";
  prompt.messages = {{"user", "Hello"}};
  const std::string answer = options.on == ModelRewardOptions::On::kSummary ? "Hello to you." : "<think>\nA greeting.\n</think>\n\nHello to you.";
  try {
    scorer.score(prompt, {&answer, 1});
  } catch (const Error& e) {
    o.fail("model", message("cannot score an answer", options.on == ModelRewardOptions::On::kResponse ? " with its thinking" : "", ": ", e.what()));
  }
  return make_model_reward(options, std::move(scorer));
}

}  // namespace r1
