// Whole files as text, unpacked where they are gzip or zstd archives.
#pragma once

#include <string>
#include <vector>

namespace r1 {

// Files that the paths and glob patterns name, in order. Throws DataError for one that names none.
std::vector<std::string> expand_paths(const std::vector<std::string>& paths);

// The contents; an archive is known by its first bytes. Throws DataError for a missing, unreadable or cut-off file.
std::string read_data_file(const std::string& path);

}  // namespace r1
