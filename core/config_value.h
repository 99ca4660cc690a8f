// The tree behind a configuration: scalars as text, lists and maps in file order, each value with where it came from.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace r1 {

// Where a value was set: "recipes/x.yaml:12", "command line: rl.steps=3", "preset r1_zero:4", "default".
struct Origin {
  enum class Kind { kDefault, kPreset, kRecipe, kCommandLine };
  Kind kind = Kind::kDefault;
  std::string text = "default";
};

struct ConfigValue {
  enum class Kind { kNull, kScalar, kList, kMap };
  struct Entry;  // a pair of this type, while it is incomplete, is refused by clang with libstdc++

  Kind kind = Kind::kNull;
  std::string text;      // scalar
  bool quoted = false;   // scalar: was in quotes, hence text and never a number or bool
  std::vector<ConfigValue> items;  // list
  std::vector<Entry> entries;      // map, keys unique
  Origin origin;

  const ConfigValue* find(std::string_view key) const;
  ConfigValue* find(std::string_view key);

  static ConfigValue scalar(std::string text, bool quoted, Origin origin);
  static ConfigValue map(Origin origin);
  static ConfigValue list(Origin origin);
};

struct ConfigValue::Entry {
  Entry(std::string key, ConfigValue value) : first(std::move(key)), second(std::move(value)) {}
  std::string first;
  ConfigValue second;
};

const char* to_string(ConfigValue::Kind kind);  // "nothing", "a single value", "a list", "a section"

// One YAML document -> tree. `name` stands in errors and origins as "name:line". An empty document gives kNull.
// Throws ConfigError on syntax errors (line, column) and duplicate keys.
ConfigValue parse_yaml(const std::string& text, const std::string& name, Origin::Kind kind);

// Block style; reading it back gives an equal tree. `comments` appends "# origin" to each value.
std::string write_yaml(const ConfigValue& root, bool comments = false);
// One line, flow style: "[1, 2]", "{name: math}", for messages and tables.
std::string write_inline(const ConfigValue& value);
// Numbers and bools as such (unless quoted), everything else as strings.
std::string write_json(const ConfigValue& value);

// Fills what `base` leaves out from `defaults`: maps are merged key by key, scalars and lists of `base` stay.
void merge_defaults(ConfigValue& base, const ConfigValue& defaults);

// "rl.steps=3", "rewards.0.weight=0.5", "rewards.2={name: length}" (appends if there are 2), "rewards+=format".
// Missing sections are made. Throws ConfigError on a malformed override or an index out of range.
void apply_override(ConfigValue& root, const std::string& override_text);

}  // namespace r1
