// What a stage of a pipeline would do, found out without a model, without data and without starting anybody's reward: its settings,
// its batch arithmetic, and the version of the program's part that would do it.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "apps/stage_load.h"
#include "core/config.h"

namespace r1 {

enum class StageWork { kTrain, kGenerate, kEval };

struct StageKind {
  std::string_view name;  // the recipe's kind:
  StageWork work;
  int version;            // rises when this part's results change for equal settings and inputs: finished stages then run again
};
// By the recipe's `kind:` (default grpo). Throws ConfigError naming the known ones.
const StageKind& stage_kind(const Config& config);

struct StagePlan {
  ResolvedConfig resolved;         // defaults included
  std::vector<std::string> lines;  // batch arithmetic, as the kind's own screen prints it
  StageLoad load;                  // for estimates
};
// Reads the recipe as the kind does; files must exist. Throws ConfigError.
StagePlan plan_stage(const Config& config);

// Settings that name files or folders of the user: dotted path and value. Lists give one each; references to stages are left out.
std::vector<std::pair<std::string, std::string>> named_inputs(const Config& config);
// For the resolved settings' digest: where results go and how many threads make them decide nothing.
std::vector<std::string> keys_without_effect(StageWork work);

}  // namespace r1
