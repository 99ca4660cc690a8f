// Memory and disk that a stage takes, for people and for tests.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apps/stage_cost.h"

namespace r1 {

struct StageMemory {
  double peak = 0;                 // bytes of the process on the CPU, of the device on a GPU; 0 = it does not fit
  std::vector<std::string> lines;
};
StageMemory stage_memory(const StageLoad& load, const StageSizes& sizes, const ModelSize& model, const std::optional<ModelSize>& teacher, const DeviceRates& rates);

// Of a stage's folder, in bytes. `kept`: once it has finished, with all its checkpoints and states, or with what output.keep: weights of a
// pipeline leaves.
struct StageDisk {
  double running = 0, kept = 0;
};
StageDisk stage_disk(const StageLoad& load, const StageSizes& sizes, const ModelSize& model, bool weights_alone);

}  // namespace r1
