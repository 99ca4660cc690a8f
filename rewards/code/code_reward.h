// The `code` reward: the program of a completion against the tests of its data row.
#pragma once

#include <memory>

#include "core/config.h"
#include "rewards/reward.h"

namespace r1 {

// Options: tests (column with the tests as JSON, "tests"), checker (column with a special judge, "checker"; rows without it
// are compared), language ("python"; a column `language` of the row wins),
// pay (fraction | all), tolerance (0), require_end (false), limits {wall_ms, cpu_ms, memory_mb, processes, file_mb,
// output_kb}, allow_unisolated (false), require (names of guarantees that must hold here, []: what is missing is an error
// at the start), cache (folder of built programs that processes share; empty = in memory), cache_mb (2048). Runs nothing unless this host isolates or allow_unisolated is set; check_prompt
// says why it would not.
std::unique_ptr<RewardFunction> make_code_reward(ConfigReader& options);

}  // namespace r1
