#include "recipes/generate_recipe.h"

#include <array>
#include <fstream>

#include "core/error.h"
#include "core/files.h"
#include "core/json_text.h"
#include "recipes/recipe.h"

namespace r1 {
namespace {

using Prefer = CurateOptions::Prefer;

SamplingOptions read_sampling(ConfigReader& r) {
  SamplingOptions s;
  s.temperature = r.get_in<float>("temperature", 1.f, 0.f, 10.f);
  s.top_k = r.get_in<int>("top_k", 0, 0, 1 << 24);
  s.top_p = r.get_in<float>("top_p", 1.f, 1e-6f, 1.f);
  s.min_p = r.get_in<float>("min_p", 0.f, 0.f, 1.f);
  s.max_new_tokens = r.get_in<int>("max_new_tokens", 512, 1, 1 << 24);
  s.stop_strings = r.get<std::vector<std::string>>("stop", {});
  for (const std::string& stop : s.stop_strings)
    if (stop.empty()) r.fail("stop", "holds an empty text, which would stop at once");
  return s;
}

EngineSection read_engine(ConfigReader r, const EngineSection& common, const RewardContext& context) {
  EngineSection e = common;
  e.model = r.require<std::string>("model");
  if (e.model.empty()) r.fail("model", "is empty; name a model folder, a GGUF file, a hub name, or what the server calls its model");
  e.samples = r.get_in<int>("samples", common.samples, 1, 1 << 20);
  e.sampling.temperature = r.get_in<float>("temperature", common.sampling.temperature, 0.f, 10.f);
  e.url = r.get<std::string>("url", "");
  if (e.url.empty()) {
    e.dtype = r.get_choice("dtype", "bfloat16", std::array<std::string, 2>{"bfloat16", "float32"}) == "float32" ? DType::kF32 : DType::kBF16;
    e.device = r.get_choice("device", "auto", std::array<std::string, 3>{"auto", "cpu", "cuda"});
    for (const char* key : {"parallel", "api_key_env", "ca_file", "timeout", "retries", "retry_wait", "extra"})
      r.reject(key, "it belongs to a server: add url");
    return e;
  }
  for (const char* key : {"dtype", "device"}) r.reject(key, "a server decides that for itself");
  if (e.sampling.top_k != 0 || e.sampling.min_p != 0)
    r.fail("url", "cannot be asked for rollout.top_k or min_p, which the protocol does not have; set them in this engine's extra");
  e.parallel = r.get_in<int>("parallel", 8, 1, 4096);
  if (!context.chat_client) r.fail("url", "this program has no HTTP client");
  e.client = context.chat_client(r);
  return e;
}

void read_engines(ConfigReader& root, const RewardContext& context, GenerateRecipe& recipe) {
  ConfigReader rollout = root.section("rollout");
  EngineSection common;
  common.samples = rollout.get_in<int>("samples_per_prompt", 4, 1, 1 << 20);
  common.sampling = read_sampling(rollout);
  if (root.has("model") == root.has("engines")) root.fail("model", "or engines must be set, one of them");
  if (root.has("model")) {
    ConfigReader m = root.section("model");
    EngineSection e = common;
    e.model = m.require<std::string>("path");
    e.dtype = m.get_choice("dtype", "bfloat16", std::array<std::string, 2>{"bfloat16", "float32"}) == "float32" ? DType::kF32 : DType::kBF16;
    e.device = m.get_choice("device", "auto", std::array<std::string, 3>{"auto", "cpu", "cuda"});
    recipe.engines.push_back(std::move(e));
  }
  for (ConfigReader& r : root.sections("engines", "model")) {
    EngineSection e = read_engine(r, common, context);
    for (const EngineSection& other : recipe.engines) {
      if (other.model != e.model) continue;
      if (other.url.empty() != e.url.empty() || other.samples != e.samples || other.sampling.temperature != e.sampling.temperature ||
          other.dtype != e.dtype)
        r.fail("model", message("= ", e.model,
                                " is named twice with other settings; engines of one model share its work, so their settings must be the same"));
      if (e.url.empty()) r.fail("model", message("= ", e.model, " is named twice in this process; once uses all its cores"));
    }
    recipe.engines.push_back(std::move(e));
  }
  for (const EngineSection& e : recipe.engines)
    if (e.sampling.temperature == 0 && e.samples > 1)
      rollout.fail("temperature",
                   message("is 0: all ", e.samples, " samples of a prompt would be the same; set samples_per_prompt: 1, or a temperature"));
}

FilterOptions read_filters(ConfigReader r) {
  FilterOptions f;
  const bool r1 = r.get_choice("preset", "none", std::array<std::string, 2>{"none", "r1"}) == "r1";
  f.finished = r.get<bool>("finished", r1);
  if (ConfigReader form = r.section("format"); form.get<bool>("check", r1 || r.has("format"))) {
    f.format.emplace();
    f.format->answer_tag = form.get<bool>("answer_tag", false);
  }
  f.correct = r.get<bool>("correct", r1);
  if (const double share = r.get_in<double>("language", r1 ? 0.95 : 0.0, 0.0, 1.0); share > 0) {
    f.language = share;
    f.language_code = r.get<std::string>("language_code", "prompt");
  } else {
    r.reject("language_code", "filters.language is off");
  }
  if (ConfigReader rep = r.section("repetition"); rep.get<bool>("check", r1 || r.has("repetition"))) {
    FilterOptions::Repetition x;
    x.ngram = rep.get_in<int>("ngram", x.ngram, 1, 100);
    x.max_count = rep.get_in<int>("max_count", x.max_count, 1, 1 << 30);
    x.max_share = rep.get_in<double>("max_share", x.max_share, 0.0, 1.0);
    f.repetition = x;
  }
  f.max_paragraph = r.get_in<int>("max_paragraph", r1 ? 2000 : 0, 0, 1 << 30);
  f.no_code = r.get<bool>("no_code", r1);
  if (f.no_code) f.code_tasks = r.get<std::vector<std::string>>("code_tasks", f.code_tasks);
  else r.reject("code_tasks", "filters.no_code is off");
  if (r.has("length")) {
    ConfigReader l = r.section("length");
    FilterOptions::Length x;
    constexpr std::int64_t kMost = std::int64_t{1} << 40;
    x.min_tokens = l.get_in<std::int64_t>("min_tokens", 0, 0, kMost);
    x.max_tokens = l.get_in<std::int64_t>("max_tokens", 0, 0, kMost);
    x.min_characters = l.get_in<std::int64_t>("min_characters", 0, 0, kMost);
    x.max_characters = l.get_in<std::int64_t>("max_characters", 0, 0, kMost);
    f.length = x;
  }
  return f;
}

// dedup: {exact, near, shingle, hashes, within_prompt}; exact's default is given.
template <class Options>
void read_dedup(ConfigReader r, bool exact, Options& o) {
  o.exact = r.get<bool>("exact", exact);
  if (const double near = r.get_in<double>("near", 0.0, 0.0, 1.0); near > 0) {
    o.near.emplace();
    o.near->threshold = near;
    o.near->shingle = r.get_in<int>("shingle", o.near->shingle, 1, 100);
    o.near->hashes = r.get_in<int>("hashes", o.near->hashes, 16, 4096);
  } else {
    for (const char* key : {"shingle", "hashes"}) r.reject(key, "dedup.near is off");
  }
}

template <class Options>
void read_decontaminate(ConfigReader r, Options& o) {
  o.against = r.get<std::vector<std::string>>("against", {});
  if (o.against.empty()) {
    for (const char* key : {"ngram", "characters"}) r.reject(key, "decontaminate.against names no evaluation set");
    return;
  }
  o.decontaminate.ngram = r.get_in<int>("ngram", o.decontaminate.ngram, 3, 100);
  o.decontaminate.characters = r.get_in<int>("characters", o.decontaminate.characters, 3, 200);
}

void read_curate(ConfigReader& root, GenerateRecipe& recipe) {
  CurateOptions& c = recipe.curate;
  c.filters = read_filters(root.section("filters"));
  ConfigReader dedup = root.section("dedup");
  read_dedup(dedup, false, c);
  if (c.exact || c.near) c.within_prompt = dedup.get_choice("scope", "set", std::array<std::string, 2>{"set", "prompt"}) == "prompt";
  else dedup.reject("scope", "dedup is off");
  read_decontaminate(root.section("decontaminate"), c);
  ConfigReader d = root.section("difficulty");
  if (d.has("min_pass_rate")) c.min_pass_rate = d.require_in<double>("min_pass_rate", 0.0, 1.0);
  if (d.has("max_pass_rate")) c.max_pass_rate = d.require_in<double>("max_pass_rate", 0.0, 1.0);
  if (c.min_pass_rate && c.max_pass_rate && *c.min_pass_rate > *c.max_pass_rate)
    d.fail("min_pass_rate", message("= ", *c.min_pass_rate, " is above max_pass_rate = ", *c.max_pass_rate, ": nothing would be left"));
  ConfigReader s = root.section("select");
  c.per_prompt = s.get_in<int>("per_prompt", 0, 0, 1 << 20);
  const std::array<std::string, 4> names = {"drawn", "shortest", "diverse", "best"};
  const std::string by = s.get_choice("by", "drawn", names);
  c.prefer = by == "shortest" ? Prefer::kShortest : by == "diverse" ? Prefer::kDiverse : by == "best" ? Prefer::kBest : Prefer::kDrawn;
  if (c.prefer == Prefer::kBest) c.best = s.get<std::string>("column", "reward");
  else s.reject("column", "it belongs to select.by: best");
}

void read_rewrite(ConfigReader& root, const RewardContext& context, GenerateRecipe& recipe) {
  if (!root.has("rewrite")) return;
  ConfigReader r = root.section("rewrite");
  RewriteOptions o;
  o.info.name = r.require<std::string>("model");
  o.info.local = !r.has("url");
  o.info.dtype = o.info.local ? "bfloat16" : "";
  o.info.temperature = r.get_in<double>("temperature", 0.0, 0.0, 10.0);
  o.info.max_new_tokens = r.get_in<int>("max_new_tokens", 4096, 1, 1 << 24);
  o.info.seed = recipe.seed;
  o.parallel = r.get_in<int>("parallel", 8, 1, 4096);
  const auto file = r.get<std::string>("prompt_file", "");
  o.info.prompt = file.empty() ? kRewritePrompt : read_file(file);
  try {
    check_rewrite_prompt(o.info.prompt);
  } catch (const ConfigError& e) {
    r.fail("prompt_file", e.what());
  }
  if (!context.chat_client) r.fail("model", "this program cannot ask a model");
  recipe.rewriter = context.chat_client(r);
  recipe.rewrite = std::move(o);
}

void read_mix(ConfigReader& root, GenerateRecipe& recipe) {
  ConfigReader r = root.section("mix");
  MixOptions m;
  m.seed = recipe.seed;
  double sum = 0;
  std::vector<ConfigReader> sets = r.sections("sets", "path");
  for (ConfigReader& s : sets) {
    m.sources.push_back({s.require<std::string>("path"), s.get_in<double>("weight", 0.0, 0.0, 1e9)});
    sum += m.sources.back().weight;
  }
  if (m.sources.empty()) r.fail("sets", "names no set to mix");
  for (std::size_t i = 0; i < sets.size(); ++i)
    if (sum > 0 && m.sources[i].weight == 0) sets[i].fail("weight", "is missing or 0, but other sets have one; give each a weight, or none");
  m.rows = r.get_in<std::int64_t>("rows", 0, 0, std::int64_t{1} << 40);
  read_dedup(root.section("dedup"), true, m);
  read_decontaminate(root.section("decontaminate"), m);
  for (const char* key : {"model", "engines", "data", "rollout", "rewards", "filters", "difficulty", "select", "rewrite", "from"})
    root.reject(key, "mix takes finished sets; generate and filter first");
  recipe.mix = std::move(m);
}

void read_output(ConfigReader r, GenerateRecipe& recipe) {
  const auto path = r.require<std::filesystem::path>("path");
  const std::string format = r.get_choice("format", "", std::array<std::string, 3>{"", "jsonl", "parquet"});
  try {
    recipe.paths = set_paths(path, format);
  } catch (const ConfigError& e) {
    r.fail("path", e.what());
  }
  recipe.set.title = r.get<std::string>("title", "");
  recipe.set.license = r.get<std::string>("license", "");
  recipe.set.license_notes = r.get<std::vector<std::string>>("license_notes", {});
  recipe.set.columns = r.get<bool>("columns", false);
}

std::vector<std::string> labels_of(const Rubric& rubric) {
  std::vector<std::string> out;
  for (const Rubric::Entry& e : rubric.entries()) out.push_back(e.label);
  return out;
}

}  // namespace

GenerateRecipe load_generate_recipe(const Config& config, RewardContext context) {
  ConfigReader root(config);
  root.get_choice("kind", "generate", std::array<std::string, 1>{"generate"});
  GenerateRecipe recipe;
  recipe.name = std::filesystem::path(config.name()).stem().string();
  recipe.seed = root.get<std::uint64_t>("seed", 0);
  read_output(root.section("output"), recipe);
  if (root.has("mix")) {
    read_mix(root, recipe);
  } else {
    recipe.from = root.get<std::filesystem::path>("from", std::filesystem::path());
    if (recipe.from.empty()) {
      ConfigReader data = root.section("data");
      data.reject("shuffle", "samples stand in the order of the data");
      recipe.data = detail::read_data(data, "train");
      recipe.data.shuffle = false;
      read_engines(root, context, recipe);
      for (const EngineSection& e : recipe.engines)
        context.max_new_tokens = std::max<std::int64_t>(context.max_new_tokens, e.sampling.max_new_tokens);
      ConfigReader train = root.section("run");
      recipe.threads = train.get_in<int>("threads", 0, 0, 4096);
      recipe.reward_threads = train.get_in<int>("reward_threads", 2, 1, 256);
    } else {
      for (const char* key : {"model", "engines", "data", "rollout", "run"}) root.reject(key, "from takes samples that were drawn before");
    }
    if (root.has("rewards") && !recipe.from.empty()) root.fail("rewards", "have no effect: the scores of from were given when it was drawn");
    if (root.has("rewards")) {
      recipe.rubric = std::make_shared<const Rubric>(make_rubric(root.sections("rewards", "name"), context));
      recipe.rewards_json = root.get_json("rewards");
      recipe.set.labels = labels_of(*recipe.rubric);
    }
    read_curate(root, recipe);
    if (!recipe.rubric && recipe.from.empty()) {
      const CurateOptions& c = recipe.curate;
      const char* needs = c.filters.correct                    ? "filters.correct"
                          : c.min_pass_rate || c.max_pass_rate ? "difficulty"
                          : c.prefer == Prefer::kBest          ? "select.by: best"
                                                               : nullptr;
      if (needs) root.fail("rewards", message("are missing: ", needs, " needs rewards that judge the samples"));
    }
    read_rewrite(root, context, recipe);
  }
  root.finish();
  recipe.resolved = root.resolved();
  return recipe;
}

std::shared_ptr<const Rubric> rubric_from_json(const std::string& rewards_json, RewardContext context) {
  if (rewards_json.empty()) return nullptr;
  const Config config = Config::parse("rewards: " + rewards_json, "rewards of the record");
  ConfigReader root(config);
  return std::make_shared<const Rubric>(make_rubric(root.sections("rewards", "name"), context));
}

}  // namespace r1
