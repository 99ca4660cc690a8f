// Edits of a gold answer for tests: mutations, which change its meaning in one place, and rewrites, which keep it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "rewards/math/answer.h"

namespace r1::math {

struct Edit {
  std::string_view kind;
  std::string text;
};

// Works on the LaTeX text, knows nothing of its value: a few mutations keep it ("0/5" with another denominator).
std::vector<Edit> mutations(const std::string& gold);

// By construction the same answer. `read`: how the checker reads the gold; it says which rewrites make sense for it.
std::vector<Edit> rewrites(const std::string& gold, const Answer& read);

// Entries between the commas of the topmost level. One, if there are none.
std::vector<std::string> top_entries(std::string_view text);

}  // namespace r1::math
