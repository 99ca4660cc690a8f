// Models and data sets of the hub that a command names: taken from the cache, else downloaded with a line of progress.
#pragma once

#include <filesystem>
#include <string>

#include "core/config.h"

namespace r1 {

// resolve_model(), and a download where the name may be the hub's and is in no cache. Throws CheckpointError, ConfigError, IoError.
std::filesystem::path find_model(const std::string& name);
// Downloads every hf:// name of a recipe that is in no cache yet.
void fetch_hub_data(const Config& config);
// A model or, with hf://, a data set; `include`: names or patterns (*) of the files, empty = what r1 reads. Returns the snapshot's folder.
std::filesystem::path pull_from_hub(const std::string& name, const std::vector<std::string>& include, bool quiet);

}  // namespace r1
