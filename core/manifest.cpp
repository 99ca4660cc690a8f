#include "core/manifest.h"

#include <map>

#include <nlohmann/json.hpp>

#include "core/digest.h"
#include "core/error.h"
#include "core/files.h"

namespace r1 {

namespace fs = std::filesystem;

std::string check_manifest(const fs::path& dir, bool digests) {
  std::error_code error;
  if (!fs::is_directory(dir, error)) return "no such folder";
  if (!fs::exists(dir / kManifestName, error)) return message("no ", kManifestName, ", it was not finished");
  try {
    const auto manifest = nlohmann::json::parse(read_file(dir / kManifestName));
    if (manifest.at("version").get<int>() != 1) return message(kManifestName, " has version ", manifest.at("version").dump(), ", this program reads 1");
    for (const auto& [name, facts] : manifest.at("files").items()) {
      const auto bytes = fs::file_size(dir / name, error);
      if (error) return message("file ", name, " is missing");
      const auto expected = facts.at("bytes").get<std::uintmax_t>();
      if (bytes != expected) return message("file ", name, " has ", bytes, " bytes instead of ", expected);
      if (digests && to_hex(digest_of_file(dir / name)) != facts.at("xxh3_128").get<std::string>()) return message("file ", name, " has other content");
    }
  } catch (const nlohmann::json::exception&) {
    return message(kManifestName, " is damaged");
  } catch (const IoError& e) {
    return e.what();
  }
  return {};
}

}  // namespace r1
