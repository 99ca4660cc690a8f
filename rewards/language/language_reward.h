// The reward `language`: is the chain of thought in the language it should be in?
#pragma once

#include <memory>
#include <string_view>

#include "core/config.h"
#include "rewards/reward.h"

namespace r1 {

// What is measured: the think block, the answer after it, or both. Without a think block (none opened by the prompt or
// the completion) the whole completion is the chain of thought.
enum class LanguageRegion { kThink, kAnswer, kAll };
std::string_view language_region(std::string_view completion, bool opened_by_prompt, LanguageRegion region);

// Options: language (a code or English name; "prompt", the default: the data row's column, else the language of the
// question), column ("language"), region (think, answer, all), allowance (0.02), min_words (5), detector (auto, cld2,
// none). Columns: score, target_words, other_words, unsure_words, other_languages, language, detector. It abstains where
// the language to expect is not known; it does not judge the answer.
std::unique_ptr<RewardFunction> make_language_reward(ConfigReader& options);

}  // namespace r1
