// The reward of a learned scorer (`model: DIR` in a recipe): helpfulness on the final summary alone, safety on the whole response
// (arXiv:2501.12948, rewards for general data). What scores is behind a function; clients live in recipes/.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/config.h"
#include "rewards/reward.h"

namespace r1 {

struct AnswerScorer {
  // A number for each answer to the prompt, in log-odds; none: the answer is too long for the model. Thread-safe. Throws where the
  // template cannot show the answer.
  std::function<std::vector<std::optional<float>>(const Prompt&, std::span<const std::string> answers)> score;
};

struct ModelRewardOptions {
  enum class On : std::uint8_t {
    kSummary,   // what follows </think>. None: the answer is worth what the worst of its group is, so that leaving it out never pays
    kResponse,  // all of it, the block that the prompt opened included
  } on = On::kSummary;
  // helpful: the score itself, of a model trained on pairs. safety: sigmoid(score), the chance that the response is safe.
  bool safety = false;
};

// Named helpful or safety; measures alone, so its verdict abstains ("unparsed" without a summary).
std::unique_ptr<RewardFunction> make_model_reward(const ModelRewardOptions& options, AnswerScorer scorer);

// From a recipe entry: kind (helpful, safety), on (summary, response; default by the kind), and the keys that `make_scorer` reads. Asks
// for one score at once, so that a model or a template that cannot serve is found before the run. Throws ConfigError.
std::unique_ptr<RewardFunction> make_model_reward(ConfigReader& options, const std::function<AnswerScorer(ConfigReader&)>& make_scorer);

}  // namespace r1
