#include "apps/recipe_page.h"

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <vector>

#include "apps/recipe_probes.h"
#include "core/config.h"
#include "core/error.h"
#include "recipes/presets.h"
#include "rewards/factory.h"

namespace r1 {
namespace {

std::string cell(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += "\\|";
    else if (c == '<') out += "&lt;";
    else out += c;
  }
  return out;
}

std::string joined(const std::vector<std::string>& parts, const char* between) {
  std::string out;
  for (const std::string& part : parts) out += (out.empty() ? "" : between) + part;
  return out;
}

std::string defaults_of(const RecipeKey& key, std::size_t kinds) {
  if (key.question.required) return "required";
  std::vector<std::string> parts;
  for (const auto& [value, of] : key.defaults) {
    if (of.empty()) continue;
    const std::string shown = value.empty() ? "none" : value == "\"\"" ? "empty" : "`" + value + "`";
    parts.push_back(shown + (of.size() == kinds ? "" : " (" + joined(of, ", ") + ")"));
  }
  return joined(parts, "; ");
}

std::string values_of(const ConfigQuestion& q) {
  if (!q.choices.empty()) return q.choices;
  return q.range.empty() ? q.type : q.type + ", " + q.range;
}

using Meanings = std::map<std::string, std::string>;

std::string table(const std::map<std::string, RecipeKey>& keys, const std::string& prefix, const std::string& shown_prefix, const Meanings& meanings,
                  std::set<std::string>& used, std::string& notes, bool with_kinds) {
  std::string out = std::string("| key | values | default | meaning |") + (with_kinds ? " kinds |\n|---|---|---|---|---|\n" : "\n|---|---|---|---|\n");
  for (const auto& [path, key] : keys) {
    if (key.question.type == "section" || key.question.type == "list of sections" || key.question.type.empty()) {
      if (key.question.type.empty()) notes += prefix + path + " is turned away in every recipe that was tried\n";
      continue;
    }
    const auto meaning = meanings.find(prefix + path);
    if (meaning == meanings.end()) notes += prefix + path + " has no meaning written\n";
    else used.insert(meaning->first);
    std::string text = meaning == meanings.end() ? "" : meaning->second;
    if (!key.question.without.empty()) text += std::string(text.empty() ? "" : ". ") + "*No effect where:* " + joined(key.question.without, "; ");
    out += "| `" + shown_prefix + path + "` | " + cell(values_of(key.question)) + " | " + cell(defaults_of(key, key.kinds.size())) + " | " + cell(text) + " |";
    out += with_kinds ? " " + joined(key.kinds, ", ") + " |\n" : "\n";
  }
  return out;
}

Meanings read_meanings(const std::filesystem::path& path) {
  Meanings out;
  const Config file = Config::load(path);
  const std::function<void(const ConfigValue&, const std::string&)> walk = [&](const ConfigValue& value, const std::string& at) {
    if (value.kind == ConfigValue::Kind::kScalar) out[at] = value.text;
    for (const auto& [key, below] : value.entries) walk(below, at.empty() ? key : at + "." + key);
  };
  walk(file.root(), "");
  out["schema"] = "version of what recipes may say";  // this file's own schema stands under that key
  return out;
}

}  // namespace

std::string recipe_page(const std::filesystem::path& meanings_file, std::string& notes) {
  const Meanings meanings = read_meanings(meanings_file);
  const RecipeKeys all = probe_recipes(meanings_file);
  std::set<std::string> used;
  std::string out =
      "# Recipe keys\n\nWritten by the program (`r1 docs recipe`) from the code that reads recipes, so it is complete and its defaults are the ones in use. "
      "Each key can be set in the YAML file or on the command line as `key=value`; an unknown key is an error that names the nearest one, and so is one that has no effect.\n";
  std::map<std::string, std::map<std::string, RecipeKey>> sections;
  for (const auto& [path, key] : all.keys) {
    const std::size_t end = path.find_first_of(".[");
    sections[end == std::string::npos ? "" : path.substr(0, end)][path] = key;
  }
  for (const auto& [name, keys] : sections) {
    const std::string rows = table(keys, "", "", meanings, used, notes, true);
    if (std::count(rows.begin(), rows.end(), '\n') > 2) out += "\n## " + (name.empty() ? "At the top" : "`" + name + ":`") + "\n\n" + rows;
  }
  out += "\n## Options of rewards\n\nBeside the keys of every entry (`rewards[]` above). Rewards of your own: [user rewards](../user_rewards.md).\n";
  for (const RewardKind& kind : reward_kinds()) {
    const std::string name(kind.name);
    out += "\n### `" + name + "`\n" + cell(std::string(kind.summary)) + "\n";
    const auto& options = all.rewards.at(name);
    if (!options.empty()) out += "\n" + table(options, "reward." + name + ".", "", meanings, used, notes, false);
  }
  out += "\n## Presets\n\n`rl.preset: NAME` puts these values below the recipe's own.\n";
  for (const Preset& p : presets()) {
    out += "\n### `" + std::string(p.name) + "`\n" + cell(std::string(p.source)) + (p.note.empty() ? "" : ". " + cell(std::string(p.note))) + "\n";
    out += "\n```yaml\n" + std::string(p.yaml) + (p.yaml.ends_with('\n') ? "" : "\n") + "```\n";
  }
  for (const auto& [key, ignored] : meanings)
    if (!used.contains(key)) notes += key + " has a meaning, but no reader asks for it\n";
  return out;
}

}  // namespace r1
