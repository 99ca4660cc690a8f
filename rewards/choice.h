// The reward `choice`: is the letter that a completion chooses the gold letter?
#pragma once

#include <memory>
#include <string_view>

#include "core/config.h"
#include "rewards/reward.h"

namespace r1 {

// The letter a text settles on, 'A' to 'A' + choices - 1; 0 if none. What stands last of: <answer>B</answer>, \boxed{B},
// "answer: B", "answer is (B)" (also in Chinese). With `any`, where there is none of these: the last "(B)" or "**B**",
// or a last line that is the letter alone. Bare letters inside prose never count ("A" is a word).
char chosen_letter(std::string_view text, int choices, bool any);

// Options: read (marked, any: see above), after_think (true), require_end (false). The gold is the prompt's reference,
// one letter; the number of choices is the length of the column `choices` (a list of texts), 4 without one. With
// read: any a box or tag whose content is a choice's text counts as its letter. Columns: answer_parsed, gold_parsed.
std::unique_ptr<RewardFunction> make_choice_reward(ConfigReader& options);

}  // namespace r1
