// manifest.json of a checkpoint: size and digest of every file, written last. A folder without it, or one that it does
// not match, is torn.
#pragma once

#include <filesystem>
#include <string>

namespace r1 {

inline constexpr const char* kManifestName = "manifest.json";

// Digests every file below `dir`. Throws IoError.
void write_manifest(const std::filesystem::path& dir);
// Empty if every file of the manifest is there with its size and, if asked, its digest; else what is wrong.
std::string check_manifest(const std::filesystem::path& dir, bool digests = true);

}  // namespace r1
