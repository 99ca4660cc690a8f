// The rewards that compare text: `exact_match` with the gold text, `regex` with a pattern of the user, `words_below`
// with a limit.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/config.h"
#include "rewards/reward.h"

namespace r1 {

// Options: read (answer: the <answer> tag if there is one, else all; text; last_line; end: the text ends with the
// gold), ignore_case (true), ignore_punctuation (true: marks at both ends and quotes), after_think (true), require_end
// (false). White space counts as one space.
std::unique_ptr<RewardFunction> make_exact_match_reward(ConfigReader& options);

// Options: pattern (required, RE2: linear time), match (search, full), gold (false; true = the last match's first group
// must equal the gold text), after_think (true), require_end (false). A pattern that does not compile is a ConfigError.
std::unique_ptr<RewardFunction> make_regex_reward(ConfigReader& options);

// Between one and limit - 1 words (white space separates). Options: limit (a number) or column ("limit"): the row's
// limit; require_end (true), after_think (true).
std::unique_ptr<RewardFunction> make_words_below_reward(ConfigReader& options);

// White space runs -> one space, trimmed; optionally lower case (Unicode) and without punctuation at both ends.
std::string normalised_text(std::string_view utf8, bool ignore_case, bool ignore_punctuation);

}  // namespace r1
