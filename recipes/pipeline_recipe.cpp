#include "recipes/pipeline_recipe.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "core/error.h"
#include "core/suggest.h"
#include "recipes/common_sections.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;
using Kind = ConfigValue::Kind;

void visit_values(ConfigValue& v, const std::string& path, const std::function<void(const std::string&, ConfigValue&)>& visit) {
  const auto below = [&](const std::string& part) { return path.empty() ? part : path + "." + part; };
  for (auto& [key, child] : v.entries) visit_values(child, below(key), visit);
  for (std::size_t i = 0; i < v.items.size(); ++i) visit_values(v.items[i], below(std::to_string(i)), visit);
  if (v.kind == Kind::kScalar) visit(path, v);
}

// Replaces ${FIRST.SECOND} by what `value` gives; none = it stays.
std::string replace(const std::string& text, const std::string& where,
                    const std::function<std::optional<std::string>(const std::string&, const std::string&)>& value) {
  std::string out;
  for (std::size_t at = 0;;) {
    const std::size_t open = text.find("${", at);
    if (open == std::string::npos) return out + text.substr(at);
    const std::size_t close = text.find('}', open), dot = text.find('.', open);
    if (close == std::string::npos || dot == std::string::npos || dot > close)
      throw ConfigError(message(where, ": '", text.substr(open, close == std::string::npos ? close : close + 1 - open),
                                "' is no reference; write ${STAGE.checkpoint}, ${STAGE.output} or ${vars.NAME}"));
    const auto got = value(text.substr(open + 2, dot - open - 2), text.substr(dot + 1, close - dot - 1));
    out += text.substr(at, open - at) + (got ? *got : text.substr(open, close + 1 - open));
    at = close + 1;
  }
}

void apply_vars(ConfigValue& root, const ConfigValue* vars) {
  visit_values(root, "", [&](const std::string&, ConfigValue& v) {
    // A value that is one variable and nothing else stays what it is there: '${vars.seed}' is a number where vars has one.
    if (v.text.starts_with("${vars.") && v.text.find('}') == v.text.size() - 1)
      if (const ConfigValue* var = vars ? vars->find(v.text.substr(7, v.text.size() - 8)) : nullptr; var) v.quoted = var->quoted;
    v.text = replace(v.text, v.origin.text, [&](const std::string& first, const std::string& second) -> std::optional<std::string> {
      if (first != "vars") return std::nullopt;
      const ConfigValue* var = vars ? vars->find(second) : nullptr;
      if (!var || var->kind != Kind::kScalar) throw ConfigError(message(v.origin.text, ": ${vars.", second, "} names nothing in vars:"));
      return var->text;
    });
  });
}

std::string text_of(const ConfigValue& entry, const char* key) {
  const ConfigValue* v = entry.find(key);
  if (!v || v->kind != Kind::kScalar || v->text.empty()) throw ConfigError(message(entry.origin.text, ": a stage needs '", key, "', one word"));
  return v->text;
}

void check_name(const std::string& name, const ConfigValue& entry, const std::vector<PipelineStage>& before) {
  const bool plain = std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '-'; });
  if (!plain || name == "vars")
    throw ConfigError(message(entry.origin.text, ": '", name, "' cannot name a stage; use letters, digits, _ and - (and not 'vars')"));
  for (const PipelineStage& s : before)
    if (s.name == name) throw ConfigError(message(entry.origin.text, ": two stages are named '", name, "'"));
}

// The recipe as it is written: a file, or the mapping itself.
Config written_recipe(const ConfigValue& entry, const std::string& stage, const std::string& pipeline) {
  const ConfigValue* recipe = entry.find("recipe");
  if (recipe && recipe->kind == Kind::kMap) return config_of(*recipe, pipeline + " (stage " + stage + ")");
  const fs::path file = text_of(entry, "recipe"), beside = fs::path(pipeline).parent_path() / file;
  return with_context("stage " + stage, [&] { return Config::load(fs::exists(beside) ? beside : file); });
}

// Where each setting of the stage is written: in its file, or, for a recipe inside the pipeline and for set:, in the pipeline's.
std::map<std::string, std::string> origins_of(const ConfigValue& root, const ConfigValue& entry) {
  std::map<std::string, std::string> origins;
  const auto add = [&](const ConfigValue& tree, const std::string& prefix) {
    ConfigValue copy = tree;
    visit_values(copy, prefix, [&](const std::string& path, ConfigValue& v) { origins[path] = v.origin.text; });
  };
  const ConfigValue* recipe = entry.find("recipe");
  add(recipe && recipe->kind == Kind::kMap ? *recipe : root, "");
  if (const ConfigValue* set = entry.find("set"))
    for (const auto& [key, value] : set->entries) {
      std::erase_if(origins, [&, under = key + "."](const auto& o) { return o.first == key || o.first.starts_with(under); });  // a section is replaced
      add(value, key);
    }
  return origins;
}

void read_stage_recipe(const ConfigValue& entry, PipelineStage& stage, const ConfigValue* vars, const std::string& pipeline) {
  const Config written = written_recipe(entry, stage.name, pipeline);
  ConfigValue root = written.root();
  stage.origins = origins_of(root, entry);
  if (const ConfigValue* set = entry.find("set"); set && set->kind != Kind::kNull) {
    if (set->kind != Kind::kMap) throw ConfigError(message(set->origin.text, ": set: of stage ", stage.name, " is a section of 'key: value' lines"));
    for (const auto& [key, value] : set->entries) apply_override(root, key + "=" + write_json(value));
  }
  apply_vars(root, vars);
  stage.recipe = config_of(root, written.name());
}

std::map<std::string, double> expect_of(const ConfigValue& entry) {
  std::map<std::string, double> out;
  const ConfigValue* expect = entry.find("expect");
  if (!expect) return out;
  if (expect->kind != Kind::kMap) throw ConfigError(message(expect->origin.text, ": expect: is a section of numbers"));
  for (const auto& [key, value] : expect->entries) out[key] = read_expectation(key, value.text, value.origin.text);
  return out;
}

std::vector<std::string> needs_of(const ConfigValue& entry, PipelineStage& stage, const std::vector<PipelineStage>& before) {
  std::vector<std::string> names, needs;
  for (const PipelineStage& s : before) names.push_back(s.name);
  const auto add = [&](const std::string& name, const std::string& where) {
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      const std::string near = nearest_name(name, names);
      throw ConfigError(message(where, ": stage ", stage.name, " needs '", name, "', which is no stage above it",
                                near.empty() ? "" : message("; did you mean '", near, "'?"), " There: ", join_names(names)));
    }
    if (std::find(needs.begin(), needs.end(), name) == needs.end()) needs.push_back(name);
  };
  if (const ConfigValue* list = entry.find("needs"); list) {
    if (list->kind == Kind::kScalar) add(list->text, list->origin.text);
    for (const ConfigValue& item : list->items) add(item.text, item.origin.text);
  }
  with_references(stage.recipe, [&](const std::string& name, const std::string& what) {
    add(name, stage.recipe.name());
    if (what != "checkpoint" && what != "output")
      throw ConfigError(message(stage.recipe.name(), ": stage ", stage.name, ": ${", name, ".", what, "} can be ", name, ".checkpoint or ", name, ".output"));
    return std::string();
  });
  return needs;
}

// A Config has no empty one.
Config entry_config() { return Config::parse("{}", "stage"); }

}  // namespace

double read_expectation(const std::string& key, const std::string& value, const std::string& where) {
  const std::array<std::string, 6> known = {"prompt_tokens", "new_tokens", "example_tokens", "examples", "mixed", "kept"};
  if (std::find(known.begin(), known.end(), key) == known.end())
    throw ConfigError(message(where, ": nothing is expected of '", key, "'; of ", join_names(known)));
  char* end = nullptr;
  const double number = std::strtod(value.c_str(), &end);
  const bool share = key == "mixed" || key == "kept";
  if (value.empty() || *end != '\0' || !(number > 0) || (share && number > 1))
    throw ConfigError(message(where, ": expect.", key, " is '", value, "', not ", share ? "a share above 0, at most 1" : "a number above 0"));
  return number;
}

void for_each_value(ConfigValue& root, const std::function<void(const std::string&, ConfigValue&)>& visit) { visit_values(root, "", visit); }

Config config_of(const ConfigValue& root, const std::string& name) { return Config::parse(write_yaml(root), name); }

Config with_references(const Config& config, const std::function<std::string(const std::string&, const std::string&)>& value) {
  ConfigValue root = config.root();
  for_each_value(root, [&](const std::string& path, ConfigValue& v) {
    v.text = replace(v.text, config.name() + ": '" + path + "'",
                     [&](const std::string& stage, const std::string& what) { return std::optional(value(stage, what)); });
  });
  return config_of(root, config.name());
}

PipelineRecipe make_pipeline(const Config& config) {
  ConfigReader root(config);
  root.get_choice("kind", "pipeline", std::array<std::string, 1>{"pipeline"});
  PipelineRecipe out;
  out.name = detail::recipe_name(config);
  ConfigReader output = root.section("output");
  out.dir = output.get<fs::path>("dir", fs::path("runs") / out.name);
  if (out.dir.empty()) output.fail("dir", "is empty; name a folder for the stages");
  const std::string keep = output.get_choice("keep", "weights", std::array<std::string, 3>{"all", "weights", "needed"});
  out.keep = keep == "all" ? PipelineRecipe::Keep::kAll : keep == "needed" ? PipelineRecipe::Keep::kNeeded : PipelineRecipe::Keep::kWeights;
  out.keep_old = output.get_in<int>("keep_old", 1, 0, 1000);
  for (const char* passed_on : {"stages", "vars"}) root.get_json(passed_on);
  root.finish();
  const ConfigValue* stages = config.root().find("stages");
  if (!stages || stages->kind != Kind::kList || stages->items.empty()) root.fail("stages", "is a list of {name, recipe, needs, set}, at least one");
  const ConfigValue* vars = config.root().find("vars");
  for (const ConfigValue& entry : stages->items) {
    if (entry.kind != Kind::kMap) throw ConfigError(message(entry.origin.text, ": a stage is a section with name and recipe"));
    const std::array<std::string, 5> known = {"name", "recipe", "needs", "set", "expect"};
    for (const auto& [key, value] : entry.entries)
      if (std::find(known.begin(), known.end(), key) == known.end())
        throw ConfigError(message(value.origin.text, ": a stage has no key '", key, "'; it has ", join_names(known), ". Settings of its recipe go into set:"));
    const std::string name = text_of(entry, "name");
    check_name(name, entry, out.stages);
    PipelineStage stage{name, entry_config(), {}, {}, expect_of(entry)};
    read_stage_recipe(entry, stage, vars, config.name());
    stage.needs = needs_of(entry, stage, out.stages);
    out.stages.push_back(std::move(stage));
  }
  return out;
}

PipelineRecipe load_pipeline(const fs::path& path, std::span<const std::string> overrides) { return make_pipeline(Config::load(path, overrides)); }

}  // namespace r1
