// What a finished stage turned out to be, read from what it left: better than any assumption about it, or about others of its model.
#pragma once

#include <cstdint>
#include <filesystem>

#include "apps/stage_plan.h"

namespace r1 {

// 0 = it does not tell.
struct StageMeasured {
  double new_tokens = 0;          // mean of a completion, over the whole stage
  double first_new_tokens = 0, last_new_tokens = 0;  // of a training: by the model that it began with; by the one that it ended with
  double right = 0, last_right = 0;  // share of right completions, likewise
  double mixed = 0;               // mean over the rollouts
  double sampling_s = 0, learning_s = 0;  // of a training; evaluations inside it are in neither
};

// `place`: the run folder, the folder of results, the data file. Throws DataError for results that contradict themselves.
StageMeasured measured_of(StageWork work, const std::filesystem::path& place);

}  // namespace r1
