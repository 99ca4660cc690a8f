// manifest.json of a checkpoint: size and digest of every file, written last. A folder without it, or one that it does not match, is torn.
#pragma once

#include <filesystem>
#include <string>

namespace r1 {

inline constexpr const char* kManifestName = "manifest.json";

// Writes dir/manifest.json over every other regular file below dir. Throws IoError.
void write_manifest(const std::filesystem::path& dir);
// Throws CheckpointError: no manifest, a file missing, of another size or (if asked) of another digest, a file unlisted.
void verify_manifest(const std::filesystem::path& dir, bool digests);
// The same as text; empty = it holds.
std::string check_manifest(const std::filesystem::path& dir, bool digests);

}  // namespace r1
