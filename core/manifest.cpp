#include "core/manifest.h"

#include <map>
#include <set>
#include <string>

#include <nlohmann/json.hpp>

#include "core/digest.h"
#include "core/error.h"
#include "core/files.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kFormat = 1;

std::set<std::string> files_below(const fs::path& dir) {
  std::set<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(dir))
    if (entry.is_regular_file()) files.insert(entry.path().lexically_relative(dir).generic_string());
  files.erase(kManifestName);
  return files;
}

[[noreturn]] void torn(const fs::path& dir, const std::string& why) {
  throw CheckpointError(message("checkpoint ", dir.string(), " is damaged: ", why, "; use another checkpoint"));
}

}  // namespace

void write_manifest(const fs::path& dir) {
  json files = json::object();
  for (const std::string& name : files_below(dir))
    files[name] = {{"bytes", fs::file_size(dir / name)}, {"xxh3_128", to_hex(digest_of_file(dir / name))}};
  // The list guards itself too: a changed digit would otherwise pass for a changed file.
  const json manifest = {{"format", "r1 checkpoint"}, {"version", kFormat}, {"files", files},
                         {"files_xxh3_128", to_hex(digest_of(files.dump()))}};
  write_file_atomic(dir / kManifestName, manifest.dump(2) + "\n");
}

void verify_manifest(const fs::path& dir, bool digests) {
  if (std::error_code none; !fs::exists(dir / kManifestName, none))
    torn(dir, "manifest.json is missing (a checkpoint that was not finished, or a folder that is none)");
  json manifest;
  try {
    manifest = json::parse(read_file(dir / kManifestName));
  } catch (const json::exception& e) {
    torn(dir, message("manifest.json is not valid JSON (", e.what(), ")"));
  }
  if (!manifest.is_object() || manifest.value("format", json()) != "r1 checkpoint") torn(dir, "manifest.json is not of a checkpoint");
  if (manifest.value("version", json()) != kFormat)
    throw CheckpointError(message("checkpoint ", dir.string(), " has format version ", manifest.value("version", json()).dump(),
                                  ", this program reads version ", kFormat, "; use the program that wrote it"));
  const json files = manifest.value("files", json::object());
  if (!files.is_object() || manifest.value("files_xxh3_128", json()) != to_hex(digest_of(files.dump())))
    torn(dir, "manifest.json does not have its own digest");
  std::set<std::string> present = files_below(dir);
  for (const auto& [name, entry] : files.items()) {
    if (present.erase(name) == 0) torn(dir, name + " is missing");
    const std::uint64_t bytes = fs::file_size(dir / name);
    if (entry.value("bytes", json()) != bytes)
      torn(dir, message(name, " has ", bytes, " bytes, ", entry.value("bytes", json()).dump(), " expected"));
    if (!digests) continue;
    const std::string digest = to_hex(digest_of_file(dir / name));
    if (entry.value("xxh3_128", json()) != digest)
      torn(dir, message(name, " has digest ", digest, ", ", entry.value("xxh3_128", json()).dump(), " expected: its content changed"));
  }
  if (!present.empty()) torn(dir, *present.begin() + " is not in the manifest");
}

std::string check_manifest(const fs::path& dir, bool digests) {
  try {
    verify_manifest(dir, digests);
  } catch (const Error& e) {
    return e.what();
  } catch (const std::exception& e) {  // a folder that may not be read, a manifest of another shape
    return message("checkpoint ", dir.string(), " cannot be verified: ", e.what());
  }
  return "";
}

}  // namespace r1
