// The reward `repetition`: minus the share of repeated n-grams (Yeo et al., arXiv 2502.03373, as open-r1's
// repetition_penalty). Differences from open-r1's: languages without spaces are split by dictionary without being told (there a
// Chinese text is one "word" and is never punished unless an option and a package are set), and n-grams of tokens by option.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "core/config.h"
#include "rewards/reward.h"

namespace r1 {

// 1 - distinct n-grams / n-grams: 0 without repetition, near 1 for one phrase over and over; 0 for fewer than n units.
// Units of a text are those of word_units(). Linear time.
float repeated_share(std::string_view text, int ngram);
float repeated_share(const std::vector<TokenId>& tokens, int ngram);

// -max_penalty * repeated_share. Options: ngram (3), max_penalty (1), unit (words, tokens).
std::unique_ptr<RewardFunction> make_repetition_reward(ConfigReader& options);

// The same under the name and option names of TRL's get_repetition_penalty_reward(), for recipes that come from there:
// ngram_size (3), max_penalty (-1; not above 0), unit (tokens as TRL; words as open-r1).
std::unique_ptr<RewardFunction> make_repetition_penalty_reward(ConfigReader& options);

}  // namespace r1
