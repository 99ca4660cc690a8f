#include "apps/eval_recipe.h"

#include <array>

#include "recipes/recipe.h"

namespace r1 {
namespace {

void read_model(ConfigReader m, EvalModelOptions& out) {
  out.name = m.require<std::string>("path");
  out.dtype = m.get_choice("dtype", "bfloat16", std::array<std::string, 2>{"bfloat16", "float32"});
  out.device = m.get_choice("device", "auto", std::array<std::string, 3>{"auto", "cpu", "cuda"});
  if (is_url(out.name)) {
    out.served_model = m.require<std::string>("served_model");
    out.completions_api = m.get_choice("api", "chat", std::array<std::string, 2>{"chat", "completions"}) == "completions";
    out.api_key_env = m.get<std::string>("api_key_env", "");
  } else {
    for (const char* key : {"served_model", "api", "api_key_env"}) m.reject(key, "model.path is no URL");
  }
}

void read_problems(ConfigReader data, bool named, EvalRecipe& out) {
  DataSection& section = out.job.data.section;
  if (named) {
    section.files = data.get<std::vector<std::string>>("path", {});
    section.limit = data.get_in<std::int64_t>("limit", 0, 0, std::int64_t{1} << 40);
    detail::read_template(data, section);
  } else {
    section = detail::read_data(data, "test");
  }
  out.model.prompt_template = data.has("template") ? section.format : "";
  out.model.template_file = section.template_file;
  out.model.system_prompt = section.system_prompt;
  out.model.template_variables = section.template_variables;
}

}  // namespace

EvalRecipe load_eval_recipe(const Config& config) {
  ConfigReader root(config);
  root.get_choice("kind", "eval", std::array<std::string, 1>{"eval"});
  EvalRecipe out;
  EvalJobOptions& job = out.job;
  read_model(root.section("model"), out.model);
  job.benchmarks = root.get<std::vector<std::string>>("benchmarks", {});
  read_problems(root.section("data"), !job.benchmarks.empty(), out);
  if (job.benchmarks.empty()) job.data.rewards = root.get<std::vector<std::string>>("rewards", {"math"});
  else root.reject("rewards", "benchmarks say how they are graded");
  job.protocol = root.get_choice("protocol", "", std::array<std::string, 4>{"", "r1", "greedy", "both"});
  job.samples_set = root.has("samples");
  job.samples = root.get_in<int>("samples", 0, 0, 1 << 16);
  job.shots = root.get_in<int>("shots", 0, 0, 1000);
  job.shots_data = root.get<std::string>("shots_data", "");
  job.pass_k = root.get<std::vector<int>>("pass_k", {});
  SamplingOptions& s = job.sampling.options;
  job.temperature_set = root.has("temperature"), job.top_p_set = root.has("top_p"), job.max_new_tokens_set = root.has("max_new_tokens");
  s.temperature = root.get_in<float>("temperature", 1.f, 0.f, 10.f);
  s.top_p = root.get_in<float>("top_p", 1.f, 1e-6f, 1.f);
  s.max_new_tokens = root.get_in<int>("max_new_tokens", 512, 1, 1 << 24);
  s.stop_strings = root.get<std::vector<std::string>>("stop", {});
  job.sampling.seed = root.get<std::uint64_t>("seed", 0);
  out.model.think = root.get<bool>("think", false);
  job.out = root.section("output").require<std::string>("dir");
  root.finish();
  out.resolved = root.resolved();
  return out;
}

}  // namespace r1
