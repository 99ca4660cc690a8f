#include "core/hub_name.h"

#include <algorithm>
#include <cstdlib>
#include <set>

#include "core/error.h"
#include "core/files.h"
#include "core/suggest.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

bool is_part(const std::string& text) {
  return !text.empty() && text != "." && text.find("..") == std::string::npos && text.front() != '-' && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '.' || c == '_' || c == '-';
  });
}

bool is_revision(const std::string& text) {
  return !text.empty() && text.find("..") == std::string::npos && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '.' || c == '_' || c == '-' || c == '/';
  });
}

std::vector<std::string> parts_of(const std::string& path) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    parts.push_back(path.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

bool is_data(const std::string& file) {
  std::string name = file;
  for (const char* packed : {".gz", ".zst"})
    if (name.ends_with(packed)) name.resize(name.size() - std::string(packed).size());
  return name.ends_with(".parquet") || name.ends_with(".jsonl") || name.ends_with(".json");
}

// "train-00000-of-00001.parquet", "data/train.jsonl" or "train/0.parquet" of split train.
bool is_of_split(const std::string& file, const std::string& split) {
  const auto parts = parts_of(file);
  if (std::find(parts.begin(), parts.end() - 1, split) != parts.end() - 1) return true;
  const std::string& name = parts.back();
  return name.starts_with(split) && (name.size() == split.size() || !std::isalpha(static_cast<unsigned char>(name[split.size()])));
}

std::string list(const std::set<std::string>& names) {
  const std::vector<std::string> all(names.begin(), names.end());
  return join_names(all);
}

}  // namespace

std::optional<HubName> parse_hub_model(const std::string& text) {
  HubName out;
  const std::size_t at = text.find('@');
  out.id = text.substr(0, at);
  if (at != std::string::npos) out.revision = text.substr(at + 1);
  const auto parts = parts_of(out.id);
  if (parts.size() > 2 || !std::all_of(parts.begin(), parts.end(), is_part) || !is_revision(out.revision)) return std::nullopt;
  return out;
}

std::optional<HubName> parse_hub_data(const std::string& text) {
  const std::string mark = "hf://";
  if (!text.starts_with(mark)) return std::nullopt;
  const auto bad = [&] { return ConfigError(message("'", text, "' is no data set of the hub; write hf://org/name, hf://org/name@revision/file.jsonl or hf://org/name?split=test")); };
  HubName out;
  out.dataset = true;
  std::string rest = text.substr(mark.size());
  if (const std::size_t query = rest.find('?'); query != std::string::npos) {
    const std::string what = rest.substr(query + 1);
    rest.resize(query);
    if (!what.starts_with("split=") || !is_part(what.substr(6))) throw bad();
    out.split = what.substr(6);
  }
  if (rest.starts_with("datasets/")) rest = rest.substr(9);
  const std::size_t first = rest.find('/');
  if (first == std::string::npos) throw bad();
  const std::size_t second = std::min(rest.find('/', first + 1), rest.size());
  out.id = rest.substr(0, second);
  if (second < rest.size()) out.path = rest.substr(second + 1);
  if (const std::size_t at = out.id.find('@'); at != std::string::npos) {
    out.revision = out.id.substr(at + 1);
    out.id.resize(at);
  }
  const auto parts = parts_of(out.id);
  if (parts.size() != 2 || !std::all_of(parts.begin(), parts.end(), is_part) || !is_revision(out.revision) || out.path.find("..") != std::string::npos) throw bad();
  while (out.path.ends_with('/')) out.path.pop_back();
  return out;
}

std::string to_string(const HubName& n) {
  return message(n.dataset ? "hf://" : "", n.id, n.revision == "main" ? "" : "@" + n.revision, n.path.empty() ? "" : "/" + n.path, !n.dataset || n.split == "train" ? "" : "?split=" + n.split);
}

std::vector<fs::path> hub_caches() {
  std::vector<fs::path> caches;
  const auto add = [&](const char* variable, const char* below) {
    if (const char* value = std::getenv(variable); value != nullptr && *value != '\0') caches.push_back(fs::path(value) / below);
  };
  add("HF_HUB_CACHE", "");
  add("HF_HOME", "hub");
  add("XDG_CACHE_HOME", "huggingface/hub");
  add("HOME", ".cache/huggingface/hub");
  return caches;
}

fs::path hub_folder(const fs::path& cache, const HubName& name) {
  std::string folder = (name.dataset ? "datasets--" : "models--") + name.id;
  for (std::size_t slash; (slash = folder.find('/')) != std::string::npos;) folder.replace(slash, 1, "--");
  return cache / folder;
}

fs::path find_hub_snapshot(const fs::path& cache, const HubName& name, const std::string& needs) {
  const fs::path repository = hub_folder(cache, name), snapshots = repository / "snapshots";
  std::error_code none;
  const auto good = [&](const fs::path& dir) { return needs.empty() ? fs::is_directory(dir, none) : fs::exists(dir / needs, none); };
  const fs::path ref = repository / "refs" / name.revision;
  if (fs::is_regular_file(ref, none)) {
    std::string commit = read_file(ref);
    commit.erase(std::find_if(commit.begin(), commit.end(), [](unsigned char c) { return c <= ' '; }), commit.end());
    if (!commit.empty() && good(snapshots / commit)) return snapshots / commit;
  }
  if (name.revision != "main") return good(snapshots / name.revision) ? snapshots / name.revision : fs::path();
  fs::path newest;
  fs::file_time_type newest_time;
  for (const auto& entry : fs::directory_iterator(snapshots, none)) {
    if (!good(entry.path())) continue;
    const fs::file_time_type time = fs::last_write_time(entry.path(), none);
    if (newest.empty() || time > newest_time || (time == newest_time && entry.path() > newest)) newest = entry.path(), newest_time = time;
  }
  return newest;
}

std::vector<std::string> select_data_files(std::span<const std::string> files, const HubName& name) {
  std::vector<std::string> data;
  for (const std::string& file : files) {
    if (!name.path.empty() && file == name.path) return {file};
    const bool below = name.path.empty() || file.starts_with(name.path + "/");
    if (is_data(file) && below && !file.ends_with("dataset_infos.json")) data.push_back(file);
  }
  if (data.empty())
    throw ConfigError(message(to_string(name), " has no JSON lines, JSON or Parquet files", name.path.empty() ? "" : " in " + name.path));
  std::vector<std::string> of_split;
  std::copy_if(data.begin(), data.end(), std::back_inserter(of_split), [&](const std::string& f) { return is_of_split(f, name.split); });
  if (of_split.empty() && data.size() == 1 && name.split == "train") of_split = data;
  if (of_split.empty()) {
    std::set<std::string> known(data.begin(), data.end());
    throw ConfigError(message(to_string(name), " has no file of split ", name.split, "; it has ", list(known)));
  }
  // Configurations are folders at the top.
  std::set<std::string> folders;
  for (const std::string& file : of_split) {
    const auto parts = parts_of(name.path.empty() ? file : file.substr(name.path.size() + 1));
    folders.insert(parts.size() > 1 && parts[0] != name.split ? parts[0] : "");
  }
  std::string chosen = *folders.begin();
  if (folders.size() > 1) {
    const auto usual = std::find_if(folders.begin(), folders.end(), [](const std::string& f) { return f == "main" || f == "default" || f.empty(); });
    if (usual == folders.end()) throw ConfigError(message(to_string(name), " has several configurations: ", list(folders), "; name one: hf://", name.id, "/", chosen));
    chosen = *usual;
  }
  const std::string prefix = (name.path.empty() ? "" : name.path + "/") + (chosen.empty() ? "" : chosen + "/");
  std::erase_if(of_split, [&](const std::string& f) { return !f.starts_with(prefix) || (chosen.empty() && folders.size() > 1 && f.find('/', prefix.size()) != std::string::npos); });
  std::sort(of_split.begin(), of_split.end());
  return of_split;
}

std::vector<std::string> cached_data_files(const HubName& name, std::span<const fs::path> caches) {
  std::string places;
  for (const fs::path& cache : caches) {
    places += (places.empty() ? "" : ", ") + cache.string();
    const fs::path snapshot = find_hub_snapshot(cache, name, "");
    if (snapshot.empty()) continue;
    std::vector<std::string> files;
    std::error_code none;
    for (const auto& entry : fs::recursive_directory_iterator(snapshot, fs::directory_options::follow_directory_symlink, none))
      if (fs::is_regular_file(entry.path(), none)) files.push_back(entry.path().lexically_relative(snapshot).string());
    if (files.empty()) continue;
    std::vector<std::string> out;
    try {
      for (const std::string& file : select_data_files(files, name)) out.push_back((snapshot / file).string());
    } catch (const ConfigError&) {
      continue;  // what is there is another split of it
    }
    return out;
  }
  throw DataError(message(to_string(name), " is not downloaded (looked in ", places, "); `r1 pull '", to_string(name), "'` gets it where there is a network"));
}

}  // namespace r1
