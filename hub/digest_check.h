// The hub's digests of a file: SHA-256 (64 hex digits) of large ones, git's blob id (40) of small ones.
#pragma once

#include <filesystem>
#include <string>

namespace r1 {

// Digits in lower case. Throws IoError.
std::string sha256_of_file(const std::filesystem::path& file);
// True if the file's digest is `etag`; also for an etag of neither length, which says nothing. Throws IoError.
bool digest_matches(const std::filesystem::path& file, const std::string& etag);

}  // namespace r1
