// The reward `instructions`: does a response follow its row's checkable instructions (IFEval)?
#pragma once

#include <memory>

#include "core/config.h"
#include "rewards/reward.h"

namespace r1 {

// The row has the columns instruction_id_list (texts) and kwargs (a list of objects, one each). Verdict ok: every one is
// followed (IFEval's prompt-level accuracy); value: the share of them that is (its instruction-level accuracy is the mean
// of these weighted by their number). Options: loose (false; true = a rule holds if it holds for one of IFEval's eight
// forms of the response), pay (all: 1 or 0; fraction), after_think (true). Columns: followed ("2/3"), not_followed (ids).
std::unique_ptr<RewardFunction> make_instructions_reward(ConfigReader& options);

}  // namespace r1
