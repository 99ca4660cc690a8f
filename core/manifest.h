// manifest.json of a checkpoint (model/checkpoint.h writes it last, with size and digest of every file), for who only looks at run folders.
#pragma once

#include <filesystem>
#include <string>

namespace r1 {

inline constexpr const char* kManifestName = "manifest.json";

// Empty if every file of the manifest is there with its size and, if asked, its digest; else what is wrong.
std::string check_manifest(const std::filesystem::path& dir, bool digests = true);

}  // namespace r1
