// Seconds of each phase of each step.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "report/run_data.h"

namespace r1::report {

struct StepPhases {
  std::int64_t step = 0;
  // By phase: the run's timing_s/ metrics, "evaluate" beside the step, and "other": what timing_s/step has beyond the phases (0 where
  // phases overlap and their sum is larger).
  std::map<std::string, double> seconds;
};

std::vector<StepPhases> phases_by_step(const RunData& run);

}  // namespace r1::report
