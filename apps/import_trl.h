// `r1 train --from-trl`: a recipe of TRL or open-r1 is written as one of ours, with what became of each key.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace r1 {

struct ImportRequest {
  std::string file;
  int processes = 1;
  std::int64_t rows = 0;                    // of the data set; 0 = counted where the data is here
  std::span<const std::string> overrides;   // of the command line, by our names: rl.steps makes the number of rows needless
  bool quiet = false;
};
// Writes NAME.r1.yaml (and NAME.chat_template.jinja) into the current folder, prints the mapping, returns the recipe's path. Throws
// ConfigError, IoError.
std::filesystem::path import_trl_file(const ImportRequest& request);

}  // namespace r1
