// The list of a folder's files with sizes and digests; internal to model/.
#pragma once

#include <filesystem>

namespace r1::detail {

// Writes dir/manifest.json over every other regular file below dir.
void write_manifest(const std::filesystem::path& dir);
// Throws CheckpointError: no manifest, a file missing, of another size or (if asked) of another digest, a file unlisted.
void verify_manifest(const std::filesystem::path& dir, bool digests);

}  // namespace r1::detail
