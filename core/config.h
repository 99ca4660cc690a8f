// Recipes: a YAML file plus key=value overrides plus a preset below them, read with types. Every value remembers where
// it was set; unknown keys, wrong types and values out of range are ConfigErrors that name file, line and remedy.
//
//   const Config config = Config::load("recipes/x.yaml", overrides);
//   ConfigReader root(config);
//   ConfigReader rl = root.section("rl");
//   options.steps = rl.get_in<int>("steps", 200, 1, kMaxSteps);
//   for (ConfigReader& reward : root.sections("rewards", "name")) add(reward.require<std::string>("name"));
//   root.finish();                     // anything not read above is an unknown key
//   write_file_atomic(dir / "config.yaml", root.resolved().to_yaml());
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/config_value.h"
#include "core/digest.h"

namespace r1 {

// An immutable tree of settings. `schema:` at the top must be 1 or absent.
class Config {
 public:
  static Config load(const std::filesystem::path& path, std::span<const std::string> overrides = {});
  static Config parse(const std::string& yaml, const std::string& name, std::span<const std::string> overrides = {});

  // This configuration with the preset's values wherever it has none. Maps merge key by key; lists do not.
  Config with_defaults(const std::string& preset_yaml, const std::string& preset_name) const;

  // The text of a single value by its dotted path ("rl.preset", "rewards.0.name"), before any typed reading.
  std::optional<std::string> peek(std::string_view path) const;
  const ConfigValue& root() const { return root_; }
  const std::string& name() const { return name_; }  // the file, for messages

 private:
  Config(ConfigValue root, std::string name);
  ConfigValue root_;
  std::string name_;
};

// What a program really uses: every value that was read, defaults included, each with its origin.
class ResolvedConfig {
 public:
  struct Line { std::string key, value; Origin origin; };  // key is the dotted path

  explicit ResolvedConfig(ConfigValue root) : root_(std::move(root)) {}
  std::string to_yaml(bool origin_comments = false) const;
  std::vector<Line> lines() const;
  // Equal for configurations that mean the same, whatever their order, spelling of numbers and origins. Dotted
  // prefixes in `ignore` ("output.dir") take no part.
  Digest digest(std::span<const std::string> ignore = {}) const;
  // "rl.steps: 200 -> 300" for each difference, this one's value first; "(not set)" where one side lacks the key.
  std::vector<std::string> differences(const ResolvedConfig& other, std::span<const std::string> ignore = {}) const;
  const ConfigValue& root() const { return root_; }

 private:
  ConfigValue root_;
};

// A typed view of one section. Copies and sub-sections share what was read. Not thread-safe.
// T: bool, int, std::int64_t, std::uint32_t, std::uint64_t, float, double, std::string, std::filesystem::path, and
// std::vector of these (a single value is taken as a list of one).
class ConfigReader {
 public:
  explicit ConfigReader(const Config& config);

  bool has(std::string_view key) const;  // set to something other than null
  template <class T> T get(std::string_view key, T fallback);
  template <class T> T require(std::string_view key);
  template <class T> std::optional<T> find(std::string_view key);  // null or absent -> nullopt
  template <class T> T get_in(std::string_view key, T fallback, T low, T high);  // low <= value <= high
  template <class T> T require_in(std::string_view key, T low, T high);
  std::string get_choice(std::string_view key, const std::string& fallback, std::span<const std::string> choices);
  // The raw value as JSON text, for settings that are passed on to somebody else's code; "" if absent.
  std::string get_json(std::string_view key);

  // A nested map; an absent one reads as empty, so that its defaults apply.
  ConfigReader section(std::string_view key);
  // A list of maps. With `shorthand`, an item that is a single value v stands for {shorthand: v}.
  std::vector<ConfigReader> sections(std::string_view key, std::string_view shorthand = {});

  std::string path(std::string_view key = {}) const;   // "rl.steps"; of the section itself without a key
  std::string where(std::string_view key) const;       // "recipes/x.yaml:12"; of the section if the key is absent
  Origin::Kind set_by(std::string_view key) const;     // kDefault if absent
  std::vector<std::string> keys() const;               // as written, read or not
  // Throws ConfigError "where: 'path' why".
  [[noreturn]] void fail(std::string_view key, const std::string& why) const;
  // For a key that has no effect in this configuration: an error if the recipe or the command line sets it.
  void reject(std::string_view key, const std::string& why);

  // Throws ConfigError for the first key of this section, or of sections below it, that nobody read.
  void finish() const;
  ResolvedConfig resolved() const;  // of this section and everything below it

 private:
  struct Section;
  struct Registry;
  explicit ConfigReader(std::shared_ptr<Section> section) : section_(std::move(section)) {}
  ConfigReader open(const ConfigValue* node, const std::string& path, const Origin& origin) const;
  const ConfigValue* value(std::string_view key) const;
  template <class T> T convert(std::string_view key, const ConfigValue& value) const;
  template <class T> T check_range(std::string_view key, T value, T low, T high) const;
  void remember(std::string_view key, ConfigValue value);
  std::shared_ptr<Section> section_;
};

}  // namespace r1
