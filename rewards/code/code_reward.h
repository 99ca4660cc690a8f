// The `code` reward: the program of a completion against the tests of its data row.
#pragma once

#include <memory>

#include "core/config.h"
#include "rewards/reward.h"

namespace r1 {

// Options: tests (column with the tests as JSON, "tests"), language ("python"; a column `language` of the row wins),
// pay (fraction | all), tolerance (0), require_end (false), limits {wall_ms, cpu_ms, memory_mb, processes, file_mb,
// output_kb}, allow_unisolated (false). Runs nothing unless this host isolates or allow_unisolated is set; check_prompt
// says why it would not.
std::unique_ptr<RewardFunction> make_code_reward(ConfigReader& options);

}  // namespace r1
