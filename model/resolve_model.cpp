#include <algorithm>
#include <cstdlib>

#include "core/error.h"
#include "core/files.h"
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

// A hub name's snapshot: of the branch main if the cache knows it, else the newest.
fs::path find_snapshot(const fs::path& cache, const std::string& name) {
  std::string folder = "models--" + name;
  for (std::size_t slash; (slash = folder.find('/')) != std::string::npos;) folder.replace(slash, 1, "--");
  const fs::path repository = cache / folder;
  std::error_code none;
  if (fs::is_regular_file(repository / "refs" / "main", none)) {
    std::string commit = read_file(repository / "refs" / "main");
    commit.erase(std::find_if(commit.begin(), commit.end(), [](unsigned char c) { return c <= ' '; }), commit.end());
    if (!commit.empty() && fs::exists(repository / "snapshots" / commit / "config.json", none))
      return repository / "snapshots" / commit;
  }
  fs::path newest;
  fs::file_time_type newest_time;
  for (const auto& entry : fs::directory_iterator(repository / "snapshots", none)) {
    if (!fs::exists(entry.path() / "config.json", none)) continue;
    const fs::file_time_type time = fs::last_write_time(entry.path(), none);
    if (newest.empty() || time > newest_time || (time == newest_time && entry.path() > newest)) {
      newest = entry.path();
      newest_time = time;
    }
  }
  return newest;
}

bool looks_like_hub_name(const std::string& text) {
  return std::count(text.begin(), text.end(), '/') <= 1 && text.find("..") == std::string::npos && !text.starts_with('/') &&
         !text.starts_with('.') && !text.ends_with('/') && !text.empty();
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
  if (looks_like_hub_name(path_or_name)) {
    for (const fs::path& cache : hub_caches) {
      const fs::path snapshot = find_snapshot(cache, path_or_name);
      if (!snapshot.empty()) return snapshot;
      places += ", " + cache.string();
    }
  }
  throw CheckpointError(message("model ", path_or_name, " not found. Looked for a folder, a GGUF file or a downloaded hub model in: ",
                                places, ". Give the path of a model folder, or download it first (hf download ", path_or_name, ")"));
}

fs::path resolve_model(const std::string& path_or_name) {
  std::vector<fs::path> caches;
  const auto add = [&](const char* variable, const char* below) {
    if (const char* value = std::getenv(variable); value != nullptr && *value != '\0') caches.push_back(fs::path(value) / below);
  };
  add("HF_HUB_CACHE", "");
  add("HF_HOME", "hub");
  add("XDG_CACHE_HOME", "huggingface/hub");
  add("HOME", ".cache/huggingface/hub");
  return resolve_model(path_or_name, caches);
}

}  // namespace r1
