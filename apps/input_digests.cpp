#include "apps/input_digests.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/digest.h"
#include "core/error.h"
#include "core/files.h"
#include "core/hub_name.h"
#include "model/hf_directory.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

std::int64_t changed_at(const fs::path& path) { return fs::last_write_time(path).time_since_epoch().count(); }

std::vector<fs::path> files_below(const fs::path& dir) {
  std::vector<fs::path> out;
  for (const auto& entry : fs::recursive_directory_iterator(dir, fs::directory_options::follow_directory_symlink))
    if (entry.is_regular_file()) out.push_back(entry.path());
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace

InputDigests::InputDigests(fs::path file) : file_(std::move(file)) {
  if (!fs::exists(file_)) return;
  const Json json = Json::parse(read_file(file_), nullptr, false);
  if (!json.is_object()) return;
  for (const auto& [path, k] : json.items())
    if (k.is_array() && k.size() == 3 && k[0].is_number_unsigned() && k[1].is_number_integer() && k[2].is_string())
      known_[path] = {k[0].get<std::uintmax_t>(), k[1].get<std::int64_t>(), k[2].get<std::string>()};
}

std::string InputDigests::of_file(const fs::path& path) {
  const std::string name = fs::absolute(path).lexically_normal().string();
  Known& k = known_[name];
  const std::uintmax_t bytes = fs::file_size(path);
  const std::int64_t changed = changed_at(path);
  if (k.digest.empty() || k.bytes != bytes || k.changed != changed) k = {bytes, changed, to_hex(digest_of_file(path))};
  return k.digest;
}

std::string InputDigests::of(const std::string& name) {
  if (const auto data = parse_hub_data(name)) {
    try {
      Hasher hasher;
      for (const std::string& file : cached_data_files(*data, hub_caches())) hasher.update_field(of_file(file));
      return to_hex(hasher.digest());
    } catch (const DataError&) {
      return "";
    }
  }
  fs::path path = name;
  if (name.find_first_of("*?[") != std::string::npos) path = path.has_parent_path() ? path.parent_path() : fs::path(".");
  if (!fs::exists(path)) {
    try {
      path = resolve_model(name);
    } catch (const Error&) {
      return "";
    }
  }
  if (fs::is_regular_file(path)) return of_file(path);
  if (!fs::is_directory(path)) return "";
  Hasher hasher;
  for (const fs::path& file : files_below(path)) {
    hasher.update_field(fs::relative(file, path).string());
    hasher.update_field(of_file(file));
  }
  return to_hex(hasher.digest());
}

void InputDigests::save() const {
  Json json = Json::object();
  for (const auto& [path, k] : known_) json[path] = {k.bytes, k.changed, k.digest};
  write_file_atomic(file_, json.dump());
}

}  // namespace r1
