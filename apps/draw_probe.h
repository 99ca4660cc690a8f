// A few completions of a recipe's own model on its own prompts, on this machine's CPU: what no arithmetic can tell before a run, how long answers are,
// how many are right, and how many groups have a signal.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "apps/stage_rates.h"
#include "recipes/data_section.h"
#include "rewards/rubric.h"
#include "rollout/engine.h"

namespace r1 {

// What a stage asks its model.
struct Asking {
  DataSection data;
  SamplingOptions sampling;
  int group = 1;                         // completions of a prompt
  std::shared_ptr<const Rubric> rubric;  // null = nothing judges them
};

struct FewDrawn {
  std::size_t groups = 0;
  double tokens = 0;      // mean of a completion
  int max_new_tokens = 0; // under which they were drawn: the recipe's, or fewer where those would have taken too long
  std::optional<double> right, mixed;  // shares: of right completions; of groups that do not all earn the same. None = nothing could judge them
};

// For about `seconds`, the model's opening included. None where the model or its data are not there, or nothing can be drawn. `model`: a folder or a file.
std::optional<FewDrawn> draw_some(const Asking& asking, const std::string& model, DType dtype, const ModelSpeeds& speeds, int threads, double seconds);

}  // namespace r1
