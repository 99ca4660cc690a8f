#include "apps/recipe_probes.h"

#include <algorithm>
#include <functional>
#include <set>
#include <sstream>

#include "apps/eval_recipe.h"
#include "apps/reward_context.h"
#include "core/config.h"
#include "core/error.h"
#include "recipes/generate_recipe.h"
#include "recipes/pipeline_recipe.h"
#include "recipes/recipe.h"
#include "recipes/recipe_distill.h"
#include "recipes/recipe_preference.h"
#include "recipes/recipe_sft.h"
#include "rewards/factory.h"

namespace r1 {
namespace {

using Read = std::function<void(const Config&)>;

struct Kind {
  std::string name, recipe;
  Read read;
  std::vector<std::vector<std::string>> settings;  // overrides under which further keys are asked for
};

std::vector<Kind> kinds(const std::string& file) {
  const std::string model = "model: {path: m}\n", made = "data: {generate: {task: add, n: 8}}\n", from_file = "data: {path: '" + file + "'}\n";
  const auto grpo = [](const Config& c) { make_recipe(c, reward_context()); };
  const auto sft = [](const Config& c) { make_sft_recipe(c, reward_context()); };
  const auto generate = [](const Config& c) { load_generate_recipe(c, reward_context()); };
  const auto distill = [](const Config& c) { make_distill_recipe(c, reward_context()); };
  std::vector<Kind> out = {
      {"grpo", model + from_file + "rewards: [math]\n", grpo,
       {{"rl.kl.coefficient=0.1", "rl.kl.in_reward=0.1", "rl.kl.target=0.1"}, {"rl.max_staleness=1"}, {"rl.max_staleness=1", "rl.async.mode=free"}, {"eval.data=" + file},
        {"audit.rewards=[math]"}, {"audit.check=code"}, {"rollout.samples_per_prompt=8"}, {"data.template=file", "data.template_file=" + file}}},
      {"grpo", model + made + "rewards: [math]\n", grpo, {{"eval.generate={task: add, n: 8}"}}},
      {"sft", "kind: sft\n" + model + from_file, sft,
       {{"validation.share=0.1"}, {"validation.path=" + file}, {"eval.data=" + file, "rewards=[math]"}, {"sft.steps=5"}, {"sft.warmup_ratio=0.1"},
        {"data={mixture: [{path: '" + file + "'}]}"}, {"data={generate: {task: add, n: 8}}"}}},
      {"reward_model", "kind: reward_model\n" + model + from_file, [](const Config& c) { make_preference_recipe(c, true); }, {{"validation.share=0.1"}}},
      {"dpo", "kind: dpo\n" + model + from_file, [](const Config& c) { make_preference_recipe(c, false); }, {{"validation.share=0.1"}}},
      {"distill sft", "kind: distill\ndistill: {mode: sft}\n" + model + from_file, [](const Config& c) { make_distill_sft_recipe(c, reward_context()); }, {}},
      {"distill logits", "kind: distill\ndistill: {mode: logits, teacher: t}\n" + model + from_file, distill, {{"distill.top_k=8"}}},
      {"distill gkd", "kind: distill\ndistill: {mode: gkd, teacher: t}\n" + model + from_file, distill, {}},
      {"distill on_policy", "kind: distill\ndistill: {mode: on_policy, teacher: t}\n" + model + from_file,
       [](const Config& c) { make_on_policy_recipe(c, reward_context()); }, {}},
      {"generate", "kind: generate\noutput: {path: o.jsonl}\nmodel: {path: m}\n" + from_file, generate,
       {{"rewards=[math]", "filters.preset=r1", "select.by=best"}, {"filters.language=0.9"}, {"filters.length={}"}, {"filters.repetition={}"}, {"dedup.near=0.8"},
        {"decontaminate.against=" + file}, {"difficulty={min_pass_rate: 0.1, max_pass_rate: 0.9}"}, {"rewrite={model: m, url: 'http://127.0.0.1:9/v1'}"}, {"from=" + file}}},
      {"generate", "kind: generate\noutput: {path: o.jsonl}\nengines: [{model: m, url: 'http://127.0.0.1:9/v1'}]\n" + from_file, generate, {{"engines=[{model: m}]"}}},
      {"generate mix", "kind: generate\noutput: {path: o.jsonl}\nmix: {sets: [{path: '" + file + "'}]}\n", generate, {{"dedup.near=0.8"}, {"decontaminate.against=" + file}}},
      {"eval", "kind: eval\noutput: {dir: o}\nmodel: {path: m}\nbenchmarks: [gsm8k]\n", [](const Config& c) { load_eval_recipe(c); },
       {{"model.path='http://127.0.0.1:9/v1'"}, {"data.path=" + file}}},
      {"pipeline", "kind: pipeline\nstages: [{name: a, recipe: {kind: sft}, set: {seed: 1}, needs: []}]\nvars: {x: 1}\n", [](const Config& c) { make_pipeline(c); }, {}},
  };
  for (Kind& kind : out)
    if (kind.name != "eval" && kind.name != "pipeline") kind.settings.push_back({"lora.rank=8"});
  return out;
}

void merge(const std::string& kind, const std::map<std::string, ConfigQuestion>& asked, std::map<std::string, RecipeKey>& out, bool note_defaults) {
  for (const auto& [path, question] : asked) {
    RecipeKey& key = out[path];
    const bool read = !question.type.empty();
    for (const std::string& why : question.without)
      if (std::find(key.question.without.begin(), key.question.without.end(), why) == key.question.without.end()) key.question.without.push_back(why);
    if (!read) continue;
    const std::vector<std::string> without = key.question.without;
    if (key.question.type.empty()) key.question = question, key.question.without = without;
    if (key.question.choices.empty()) key.question.choices = question.choices;
    if (key.question.range.empty()) key.question.range = question.range;
    const bool new_kind = std::find(key.kinds.begin(), key.kinds.end(), kind) == key.kinds.end();
    if (new_kind) key.kinds.push_back(kind);
    if (new_kind || note_defaults) {
      auto& named = key.defaults[question.fallback];
      const bool known = std::any_of(key.defaults.begin(), key.defaults.end(), [&](const auto& d) { return std::find(d.second.begin(), d.second.end(), kind) != d.second.end(); });
      if (!known) named.push_back(kind);
    }
  }
}

// One reading. A setting that contradicts the recipe is no failure: what was asked until then counts.
std::map<std::string, ConfigQuestion> ask(const Kind& kind, const std::vector<std::string>& overrides, bool must_work) {
  ConfigRecorder recorder;
  try {
    kind.read(Config::parse(kind.recipe, "recipe.yaml", overrides));
  } catch (const ConfigError& e) {
    if (must_work) throw ConfigError(message("the recipe reference: a recipe of kind ", kind.name, " does not read: ", e.what()));
  }
  return recorder.questions();
}

std::vector<std::string> words(const std::string& list) {
  std::vector<std::string> out;
  std::istringstream in(list);
  for (std::string word; std::getline(in, word, ',');) {
    for (const char* joint : {" or ", " and "})  // "a or b"
      if (const auto at = word.find(joint); at != std::string::npos) word.replace(at, std::string(joint).size(), ","), out.push_back(word.substr(0, word.find(','))), word = word.substr(word.find(',') + 1);
    out.push_back(word);
  }
  for (std::string& word : out) word.erase(0, word.find_first_not_of(' '));
  return out;
}

// Each choice and flag that was asked for, set otherwise: what hangs on it is asked then.
void explore(const Kind& kind, RecipeKeys& out) {
  const auto first = ask(kind, {}, true);
  merge(kind.name, first, out.keys, true);
  for (const auto& setting : kind.settings) merge(kind.name, ask(kind, setting, false), out.keys, false);
  for (const auto& [path, question] : first) {
    if (path == "kind" || path.find("[]") != std::string::npos) continue;
    std::vector<std::string> values;
    if (!question.choices.empty()) values = words(question.choices);
    else if (question.type == "true or false") values = {question.fallback == "true" ? "false" : "true"};
    for (const std::string& value : values) merge(kind.name, ask(kind, {path + "=" + value}, false), out.keys, false);
  }
}

void add_rewards(RecipeKeys& out) {
  static const std::map<std::string, std::string> kNeeded = {
      {"regex", "pattern: a\n"}, {"judge", "mode: rubric\nrubric: a\nstart_check: false\nurl: \"http://127.0.0.1:9/v1\"\nmodel: m\n"}, {"length", "min: 1\n"}, {"language", "language: en\n"}, {"words_below", "limit: 5\n"}};
  for (const RewardKind& kind : reward_kinds()) {
    const std::string name(kind.name);
    const auto needed = kNeeded.find(name);
    const auto read = [&](std::vector<std::string> overrides) {
      ConfigRecorder recorder;
      try {
        ConfigReader options(Config::parse(needed == kNeeded.end() ? "{}" : needed->second, "reward " + name, overrides));
        RewardContext with = reward_context();
        with.max_new_tokens = 512;
        kind.make(options, with);
      } catch (const ConfigError&) {
      }
      auto asked = recorder.questions();
      asked.erase("schema");
      return asked;
    };
    const auto first = read({});
    merge(name, first, out.rewards[name], true);
    for (const auto& [path, question] : first)
      for (const std::string& value : question.choices.empty() ? std::vector<std::string>{} : words(question.choices)) merge(name, read({path + "=" + value}), out.rewards[name], false);
  }
}

}  // namespace

RecipeKeys probe_recipes(const std::filesystem::path& some_file) {
  RecipeKeys out;
  for (const Kind& kind : kinds(some_file.string())) {
    if (std::find(out.kinds.begin(), out.kinds.end(), kind.name) == out.kinds.end()) out.kinds.push_back(kind.name);
    explore(kind, out);
  }
  add_rewards(out);
  // math's options were asked for as an entry's; what is no option of it belongs to every entry.
  for (const auto& [option, ignored] : out.rewards["math"])
    for (const char* list : {"rewards[].", "audit.rewards[]."}) out.keys.erase(list + option);
  return out;
}

}  // namespace r1
