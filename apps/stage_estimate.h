// Memory, disk and time of a pipeline's stages, for `r1 plan` and `r1 pipeline --dry-run`.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "apps/pipeline_state.h"
#include "apps/stage_cost.h"
#include "apps/stage_space.h"

namespace r1 {

struct StageEstimate {
  StageSizes sizes;
  StageCost cost;
  StageMemory memory;
  StageDisk disk;
  bool data_assumed = false;  // its data is not there: rows and tokens of a row are assumed
  std::string why_not;  // no estimate, and why; empty = there is one
};

// Of all stages, in their order: sizes go from each to those that use what it makes. `expect` wins over a stage's own. Opens models' configs and
// tokenizers, reads some rows of data where they are there and what finished stages left; measures the CPU for some seconds where stages run on
// it, and draws some completions for about `draw_seconds` (0 = none) of small models that are there. Throws nothing for what is not there.
std::vector<StageEstimate> estimate_stages(const PipelineState& state, const std::map<std::string, double>& expect, const DeviceRates& rates, double draw_seconds);
inline constexpr double kDrawSeconds = 10;

// "sizes ...", "memory ...", "disk ...", "time ...".
std::vector<std::string> estimate_lines(const StageEstimate& estimate, const StageState& stage);
// "in all about 4 min 10 s on h200", with what was measured of the stages that are finished.
std::string total_line(const PipelineState& state, const std::vector<StageEstimate>& estimates, const DeviceRates& rates);

}  // namespace r1
