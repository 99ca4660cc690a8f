// "Did you mean ...?": the known name nearest to a misspelt one.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace r1 {

// Insertions, deletions, replacements and swaps of neighbours that turn a into b; upper and lower case are equal.
std::size_t edit_distance(std::string_view a, std::string_view b);

// The known name nearest to `name`, or empty if none is near enough (a third of its letters, at least 1, may differ).
std::string nearest_name(std::string_view name, std::span<const std::string> known);

// "a, b and c", for messages that list what is allowed; "(none)" if empty.
std::string join_names(std::span<const std::string> names);

}  // namespace r1
