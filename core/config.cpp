#include "core/config.h"

#include <algorithm>
#include <charconv>

#include "core/error.h"
#include "core/files.h"
#include "core/scalar_text.h"
#include "core/suggest.h"

namespace r1 {

namespace fs = std::filesystem;
using Kind = ConfigValue::Kind;

namespace {
constexpr int kSchema = 1;
constexpr std::uintmax_t kMaxBytes = 8 << 20;  // a data file given by mistake should not be parsed as a recipe
}  // namespace

Config::Config(ConfigValue root, std::string name) : root_(std::move(root)), name_(std::move(name)) {
  const ConfigValue* schema = root_.find("schema");
  if (schema == nullptr) return;
  const auto number = schema->kind == Kind::kScalar ? parse_int(schema->text) : std::nullopt;
  if (!number || *number != kSchema) {
    throw ConfigError(message(schema->origin.text, ": schema ", write_inline(*schema), " is not known; this program reads schema ", kSchema,
                              number && *number > kSchema ? ": use a newer r1" : ""));
  }
}

Config Config::load(const fs::path& path, std::span<const std::string> overrides) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) {
    std::string hint;
    const fs::path folder = path.parent_path().empty() ? fs::path(".") : path.parent_path();
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder, error)) names.push_back(entry.path().filename().string());
    if (!fs::is_directory(folder)) hint = message("; the folder ", folder.string(), " does not exist either");
    else if (const auto near = nearest_name(path.filename().string(), names); !near.empty()) hint = message("; did you mean ", (path.parent_path() / near).string(), "?");
    throw ConfigError(message("no recipe at ", path.string(), hint));
  }
  if (fs::is_directory(status)) {
    throw ConfigError(message(path.string(), " is a folder; give a recipe file, for example ", (path / "recipe.yaml").string()));
  }
  if (fs::is_regular_file(status) && fs::file_size(path, error) > kMaxBytes) {
    throw ConfigError(message(path.string(), " has ", fs::file_size(path, error), " bytes, too many for a recipe (limit ", kMaxBytes, ")"));
  }
  std::string text;
  try {
    text = read_file(path);
  } catch (const IoError& e) {
    throw ConfigError(e.what());
  }
  return parse(text, path.string(), overrides);
}

Config Config::parse(const std::string& yaml, const std::string& name, std::span<const std::string> overrides) {
  ConfigValue root = parse_yaml(yaml, name, Origin::Kind::kRecipe);
  if (root.kind == Kind::kNull) throw ConfigError(message(name, " is empty; a recipe needs at least 'kind:', see recipes/"));
  if (root.kind != Kind::kMap) {
    throw ConfigError(message(root.origin.text, ": a recipe is a section of 'key: value' lines, this is ", to_string(root.kind)));
  }
  for (const auto& text : overrides) apply_override(root, text);
  return Config(std::move(root), name);
}

Config Config::with_defaults(const std::string& preset_yaml, const std::string& preset_name) const {
  const ConfigValue preset = parse_yaml(preset_yaml, preset_name, Origin::Kind::kPreset);
  ConfigValue merged = root_;
  merge_defaults(merged, preset);
  return Config(std::move(merged), name_);
}

std::optional<std::string> Config::peek(std::string_view path) const {
  const ConfigValue* at = &root_;
  while (!path.empty() && at != nullptr) {
    const std::string_view part = path.substr(0, path.find('.'));
    path.remove_prefix(std::min(path.size(), part.size() + 1));
    if (at->kind == Kind::kList) {
      std::size_t index = at->items.size();
      std::from_chars(part.data(), part.data() + part.size(), index);
      at = index < at->items.size() ? &at->items[index] : nullptr;
    } else {
      at = at->find(part);
    }
  }
  if (at == nullptr || at->kind != Kind::kScalar) return std::nullopt;
  return at->text;
}

}  // namespace r1
