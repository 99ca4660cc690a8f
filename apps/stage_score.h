// The one number for people that a finished stage has: "greedy 59.3 %", "loss 0.4312", "gsm8k 34.5 %", "600 records".
#pragma once

#include <filesystem>
#include <string>

#include "apps/stage_plan.h"

namespace r1 {

// `place`: the run folder, the data file, the folder of results. "" where there is none.
std::string stage_score(StageWork work, const std::filesystem::path& place);

}  // namespace r1
