// The reward `math`: is the completion's final answer the gold answer? Extraction by rewards/answer_extract.h, comparison
// by rewards/math/check.h.
#pragma once

#include <memory>

#include "core/config.h"
#include "rewards/reward.h"

namespace r1 {

// Options (defaults first): extract (auto, boxed, tag, hash, phrase, last_number, whole), require_end (false; true = a
// completion that did not end is wrong), after_think (true = only what follows </think> is read), several_boxes (wrong,
// last: boxes that differ; boxes side by side are one list), correct (1), wrong (0): the values paid; and those of
// math::read_check_options().
//
// Columns: gold_parsed, answer_parsed, answer_from (what it was extracted from), answer_verdict (equal, different,
// undecided), answer_proof (proved, probable). An answer that the checker cannot decide within its budget is not paid:
// verdict kUnparsed, detail "undecided_" and the reason. A gold that cannot be read abstains.
std::unique_ptr<RewardFunction> make_math_reward(ConfigReader& options);

}  // namespace r1
