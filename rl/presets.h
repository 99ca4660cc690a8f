// Published recipes as YAML that lies below the user's own (Config::with_defaults).
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "core/config.h"

namespace r1 {

struct Preset {
  std::string_view name;
  std::string_view source;  // "DAPO, arXiv:2503.14476"
  std::string_view yaml;
};

std::span<const Preset> presets();
const Preset& find_preset(std::string_view name);  // throws ConfigError listing the names

// The configuration with its `rl.preset` below it; unchanged without one.
Config with_preset(const Config& config);

}  // namespace r1
