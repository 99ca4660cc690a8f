// One recorded sample as text for people: what the model read and wrote, what was paid, what each token's updates did.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "recipes/recipe.h"
#include "replay/recorded_run.h"
#include "text/tokenizer.h"

namespace r1 {

// Where a sample stands in a rollout.
struct SamplePlace {
  std::size_t group = 0, sample = 0;
};
// `sample` counts all completions of the rollout in order; with `prompt_id` those of its (first) group. Throws ConfigError naming how
// many there are, or the nearest id.
SamplePlace find_sample(const RecordedRollout& rollout, const std::string& prompt_id, std::int64_t sample);

struct SampleView {
  const RecordedRollout& rollout;
  const std::vector<RecordedUpdate>& updates;
  SamplePlace place;
  const Tokenizer* tokenizer = nullptr;            // null = token numbers alone
  const Recipe* recipe = nullptr;                  // its rl: gives the loss; null = none is computed
  const std::vector<Score>* rescored = nullptr;    // [G] by other rewards; null = none
  std::size_t max_tokens = 400;                    // lines of the token table; 0 = all
};
std::string sample_text(const SampleView& view);

// The sample's share of the loss of update `step`, by the recipe's objective over the recorded log-probabilities, KL included as it was
// recorded; none if that update did not train it. What rl.mismatch and token selection weigh is left out.
std::optional<double> sample_loss(const RecordedUpdate& update, std::int32_t sample, const Recipe& recipe);

}  // namespace r1
