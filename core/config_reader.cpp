// What was asked of each section; the typed conversions are in config_types.cpp.
#include <algorithm>
#include <deque>

#include "core/config.h"
#include "core/config_recorder.h"
#include "core/error.h"
#include "core/suggest.h"

namespace r1 {

using Kind = ConfigValue::Kind;

// What was asked of one section. `reads` is in the order of first asking.
struct ConfigReader::Section {
  struct Read {
    std::string key;
    ConfigValue value;                 // as resolved; unused if there are children
    std::vector<Section*> children;
    bool is_list = false;              // children are the items of a list
  };
  Registry* registry = nullptr;
  const ConfigValue* node = nullptr;   // null if the section is absent
  std::string path;
  Origin origin;
  std::vector<Read> reads;

  const Read* find(std::string_view key) const {
    const auto it = std::find_if(reads.begin(), reads.end(), [&](const Read& r) { return r.key == key; });
    return it == reads.end() ? nullptr : &*it;
  }
  std::string path_of(std::string_view key) const {
    return path.empty() ? std::string(key) : key.empty() ? path : path + "." + std::string(key);
  }
  std::vector<std::string> known() const {
    std::vector<std::string> names;
    for (const auto& read : reads) names.push_back(read.key);
    return names;
  }
  ConfigValue resolve() const;
  std::string unknown_key(const std::string& key, const ConfigValue& value) const;
  void collect_unknown(std::vector<std::string>& errors) const;
};

// Owns everything that readers point to; readers hold it through aliasing pointers.
struct ConfigReader::Registry {
  ConfigValue root;
  std::string name;
  std::deque<Section> sections;
  std::deque<ConfigValue> made;  // items written in shorthand, as maps
};

ConfigValue ConfigReader::Section::resolve() const {
  const auto value_of = [](const Read& read) {
    if (read.is_list) {
      ConfigValue list = ConfigValue::list(read.value.origin);
      for (const Section* child : read.children) list.items.push_back(child->resolve());
      return list;
    }
    return read.children.empty() ? read.value : read.children[0]->resolve();
  };
  ConfigValue map = ConfigValue::map(origin);
  // The recipe's own order first, then what defaults added.
  if (node != nullptr) {
    for (const auto& [key, ignored] : node->entries) {
      if (const Read* read = find(key)) map.entries.emplace_back(key, value_of(*read));
    }
  }
  for (const auto& read : reads) {
    if (map.find(read.key) == nullptr) map.entries.emplace_back(read.key, value_of(read));
  }
  return map;
}

std::string ConfigReader::Section::unknown_key(const std::string& key, const ConfigValue& value) const {
  std::string text = message(value.origin.text, ": unknown key '", path_of(key), "'");
  if (const auto near = nearest_name(key, known()); !near.empty()) return text + "; did you mean '" + path_of(near) + "'?";
  // Perhaps the right name in the wrong section.
  for (const bool exact : {true, false}) {
    for (const Section& other : registry->sections) {
      if (&other == this) continue;
      const auto names = other.known();
      const bool same = std::find(names.begin(), names.end(), key) != names.end();
      const std::string near = same ? key : exact ? "" : nearest_name(key, names);
      if (!near.empty()) return text + "; did you mean '" + other.path_of(near) + "'?";
    }
  }
  return text + (path.empty() ? "; known at the top: " : message("; known in '", path, "': ")) + join_names(known());
}

void ConfigReader::Section::collect_unknown(std::vector<std::string>& errors) const {
  if (node != nullptr) {
    for (const auto& [key, value] : node->entries) {
      if (find(key) == nullptr) errors.push_back(unknown_key(key, value));
    }
  }
  for (const auto& read : reads) {
    for (const Section* child : read.children) child->collect_unknown(errors);
  }
}

ConfigReader::ConfigReader(const Config& config) {
  const auto registry = std::make_shared<Registry>();
  registry->root = config.root();
  registry->name = config.name();
  registry->sections.push_back({registry.get(), &registry->root, "", config.root().origin, {}});
  section_ = std::shared_ptr<Section>(registry, &registry->sections.back());
  get<int>("schema", 1);  // its value was checked by Config
}

ConfigReader ConfigReader::open(const ConfigValue* node, const std::string& path, const Origin& origin) const {
  Registry& registry = *section_->registry;
  registry.sections.push_back({&registry, node, path, origin, {}});
  return ConfigReader(std::shared_ptr<Section>(section_, &registry.sections.back()));
}

const ConfigValue* ConfigReader::value(std::string_view key) const {
  return section_->node == nullptr ? nullptr : section_->node->find(key);
}

bool ConfigReader::has(std::string_view key) const {
  const ConfigValue* v = value(key);
  return v != nullptr && v->kind != Kind::kNull;
}

std::string ConfigReader::path(std::string_view key) const { return section_->path_of(key); }

std::string ConfigReader::where(std::string_view key) const {
  if (const ConfigValue* v = value(key)) return v->origin.text;
  return section_->node != nullptr && !section_->path.empty() ? section_->origin.text : section_->registry->name;
}

Origin::Kind ConfigReader::set_by(std::string_view key) const {
  const ConfigValue* v = value(key);
  return v == nullptr ? Origin::Kind::kDefault : v->origin.kind;
}

std::vector<std::string> ConfigReader::keys() const {
  std::vector<std::string> names;
  if (section_->node != nullptr) {
    for (const auto& entry : section_->node->entries) names.push_back(entry.first);
  }
  return names;
}

void ConfigReader::fail(std::string_view key, const std::string& why) const {
  throw ConfigError(message(where(key), ": '", path(key), "' ", why));
}

void ConfigReader::reject(std::string_view key, const std::string& why) {
  if (ConfigRecorder* recorder = ConfigRecorder::current()) {
    std::vector<std::string>& without = recorder->at(path(key)).without;
    if (std::find(without.begin(), without.end(), why) == without.end()) without.push_back(why);
  }
  const Origin::Kind kind = set_by(key);
  if (kind == Origin::Kind::kRecipe || kind == Origin::Kind::kCommandLine) fail(key, "has no effect here: " + why);
  if (kind == Origin::Kind::kPreset && section_->find(key) == nullptr) remember(key, *value(key));
}

void ConfigReader::remember(std::string_view key, ConfigValue value) {
  if (section_->find(key) == nullptr) section_->reads.push_back({std::string(key), std::move(value), {}, false});
}

std::string ConfigReader::get_json(std::string_view key) {
  if (ConfigRecorder* recorder = ConfigRecorder::current()) recorder->at(path(key)).type = "anything";
  const ConfigValue* v = value(key);
  if (v == nullptr) return {};
  remember(key, *v);
  return write_json(*v);
}

ConfigReader ConfigReader::section(std::string_view key) {
  if (ConfigRecorder* recorder = ConfigRecorder::current()) recorder->at(path(key)).type = "section";
  if (const Section::Read* read = section_->find(key); read != nullptr && !read->is_list && !read->children.empty()) {
    return ConfigReader(std::shared_ptr<Section>(section_, read->children[0]));
  }
  const ConfigValue* v = value(key);
  if (v != nullptr && v->kind != Kind::kMap && v->kind != Kind::kNull) {
    fail(key, message("is ", to_string(v->kind), " (", write_inline(*v), "), expected a section of 'key: value' lines"));
  }
  ConfigReader child = open(v, path(key), v != nullptr ? v->origin : Origin{});
  section_->reads.push_back({std::string(key), ConfigValue{}, {child.section_.get()}, false});
  return child;
}

std::vector<ConfigReader> ConfigReader::sections(std::string_view key, std::string_view shorthand) {
  if (ConfigRecorder* recorder = ConfigRecorder::current()) recorder->at(path(key)).type = "list of sections";
  std::vector<ConfigReader> readers;
  const ConfigValue* v = value(key);
  if (v == nullptr || v->kind == Kind::kNull) {
    remember(key, ConfigValue::list(Origin{}));
    return readers;
  }
  if (v->kind != Kind::kList) fail(key, message("is ", to_string(v->kind), ", expected a list: one '- ...' line an item"));
  Section::Read read{std::string(key), *v, {}, true};
  for (std::size_t i = 0; i < v->items.size(); ++i) {
    const ConfigValue* item = &v->items[i];
    const std::string item_path = message(path(key), ".", i);
    if (item->kind == Kind::kScalar && !shorthand.empty()) {
      ConfigValue made = ConfigValue::map(item->origin);
      made.entries.emplace_back(std::string(shorthand), *item);
      section_->registry->made.push_back(std::move(made));
      item = &section_->registry->made.back();
    }
    if (item->kind != Kind::kMap) {
      throw ConfigError(message(item->origin.text, ": '", item_path, "' is ", write_inline(*item), ", expected a section of 'key: value' lines"));
    }
    readers.push_back(open(item, item_path, item->origin));
    read.children.push_back(readers.back().section_.get());
  }
  section_->reads.push_back(std::move(read));
  return readers;
}

void ConfigReader::finish() const {
  std::vector<std::string> errors;
  section_->collect_unknown(errors);
  if (errors.empty()) return;
  constexpr std::size_t kShown = 8;
  std::string text;
  for (std::size_t i = 0; i < std::min(errors.size(), kShown); ++i) text += (i > 0 ? "\n" : "") + errors[i];
  if (errors.size() > kShown) text += message("\n... and ", errors.size() - kShown, " more");
  throw ConfigError(text);
}

ResolvedConfig ConfigReader::resolved() const { return ResolvedConfig(section_->resolve()); }

}  // namespace r1
