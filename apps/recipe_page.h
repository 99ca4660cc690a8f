// The recipe reference: every key that the readers of recipes know, by asking them.
#pragma once

#include <filesystem>
#include <string>

namespace r1 {

// Markdown. `meanings`: a YAML file of "key: what it means" in the order of nothing; keys that it lacks get an empty cell, and both
// those and its keys that no reader asks for are named in `notes`, a line each.
std::string recipe_page(const std::filesystem::path& meanings, std::string& notes);

}  // namespace r1
