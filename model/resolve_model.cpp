#include <algorithm>

#include "core/error.h"
#include "core/hub_name.h"
#include "model/hf_directory.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> gguf_files_in(const fs::path& dir) {
  std::vector<fs::path> files;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(dir, none))
    if (is_gguf(entry.path())) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

fs::path resolve_model(const std::string& path_or_name, const std::vector<fs::path>& hub_caches) {
  const fs::path path(path_or_name);
  std::error_code none;
  if (is_gguf(path)) return path;
  if (fs::is_regular_file(path, none))
    throw CheckpointError(message(path_or_name, ": a file, but not a GGUF file; give a model folder or a GGUF file"));
  if (fs::is_directory(path, none)) {
    if (fs::exists(path / "config.json", none)) return path;
    const std::vector<fs::path> files = gguf_files_in(path);
    if (files.size() == 1) return files.front();
    throw CheckpointError(message(path_or_name, ": no model in this folder: config.json is missing and there are ", files.size(),
                                  " GGUF files (one would do); a model folder needs config.json, tokenizer.json and *.safetensors"));
  }
  std::string places = fs::absolute(path, none).lexically_normal().string();
  if (const auto name = parse_hub_model(path_or_name)) {
    for (const fs::path& cache : hub_caches) {
      if (const fs::path snapshot = find_hub_snapshot(cache, *name, "config.json"); !snapshot.empty()) return snapshot;
      places += ", " + cache.string();
    }
  }
  throw CheckpointError(message("model ", path_or_name, " not found. Looked for a folder, a GGUF file or a downloaded hub model in: ",
                                places, ". Give the path of a model folder, or download it first (r1 pull ", path_or_name, ")"));
}

fs::path resolve_model(const std::string& path_or_name) {
  return resolve_model(path_or_name, hub_caches());
}

}  // namespace r1
