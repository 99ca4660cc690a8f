// The arithmetic of a rollout and of its updates, for screens and plans.
#pragma once

#include <string>

#include "recipes/recipe.h"

namespace r1 {

std::string rollout_text(const Recipe& recipe);  // "32 prompts x 8 samples = 256 completions of at most 40 tokens, temperature 1"
std::string updates_text(const Recipe& recipe);  // "20 updates, 1 a rollout, learning rate 3e-05"

}  // namespace r1
