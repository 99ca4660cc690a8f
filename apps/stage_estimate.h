// Memory and time of a pipeline's stages, for `r1 plan` and `r1 pipeline --dry-run`.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "apps/pipeline_state.h"
#include "apps/stage_cost.h"

namespace r1 {

struct StageEstimate {
  StageSizes sizes;
  StageCost cost;
  std::string why_not;  // no estimate, and why; empty = there is one
};

// `expect` wins over the stage's own. Opens the model's config and tokenizer and reads some rows of data where they are there; throws nothing
// for what is not.
StageEstimate estimate_stage(const PipelineState& state, const StageState& stage, const std::map<std::string, double>& expect, const DeviceRates& rates);

// "sizes ...", "memory ...", "time ...".
std::vector<std::string> estimate_lines(const StageEstimate& estimate, const StageState& stage);
// "in all about 4 min 10 s on h200", with what was measured of the stages that are finished.
std::string total_line(const PipelineState& state, const std::vector<StageEstimate>& estimates, const DeviceRates& rates);

}  // namespace r1
