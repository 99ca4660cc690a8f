// Published recipes as YAML below a user's own recipe: `rl: {preset: dapo}`. Values and sources: algorithms.md.
#pragma once

#include <span>
#include <string_view>

namespace r1 {

struct Preset {
  std::string_view name;
  std::string_view source;  // paper ids
  std::string_view note;    // what it cannot fill in, or a difference to the paper; may be empty
  std::string_view yaml;
};
std::span<const Preset> presets();
const Preset* find_preset(std::string_view name);  // null if there is none

}  // namespace r1
