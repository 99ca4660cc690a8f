// Names of the Hugging Face hub, and where its tools keep what was downloaded:
//   CACHE/models--org--name/ refs/main (a commit)  blobs/ETAG  snapshots/COMMIT/FILE -> ../../blobs/ETAG
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace r1 {

struct HubName {
  bool dataset = false;
  std::string id;                 // "Qwen/Qwen2.5-0.5B", "gpt2"
  std::string revision = "main";  // branch, tag or commit
  std::string path;               // data: a file, a folder or a configuration in it; empty = chosen by select_data_files()
  std::string split = "train";    // data
};

// "org/name" or "name", with "@revision" behind it or not; none for what cannot be one (paths, names with "..").
std::optional<HubName> parse_hub_model(const std::string& text);
// "hf://org/name[@revision][/path][?split=test]"; "hf://datasets/org/name" is the same. None without "hf://". Throws ConfigError for a
// text that begins so and is none.
std::optional<HubName> parse_hub_data(const std::string& text);
std::string to_string(const HubName& name);  // as a user writes it

// HF_HUB_CACHE, HF_HOME/hub, XDG_CACHE_HOME/huggingface/hub, ~/.cache/huggingface/hub, as far as they are set; the first is the one to
// write to.
std::vector<std::filesystem::path> hub_caches();
std::filesystem::path hub_folder(const std::filesystem::path& cache, const HubName& name);  // CACHE/models--org--name
// The snapshot of the name's revision in a cache; of main also the newest one where no ref says which. Empty if it is not there.
// `needs`: a file that it must hold ("" = none).
std::filesystem::path find_hub_snapshot(const std::filesystem::path& cache, const HubName& name, const std::string& needs);

// Of a data set's files those that the name means: JSON lines, JSON or Parquet of its split (a file name that begins with it, or a folder
// of that name) in its configuration (path, else the only folder, else main or default). Throws ConfigError that names the choices.
std::vector<std::string> select_data_files(std::span<const std::string> files, const HubName& name);
// The same in a cache; throws DataError where the name is not downloaded.
std::vector<std::string> cached_data_files(const HubName& name, std::span<const std::filesystem::path> caches);

}  // namespace r1
