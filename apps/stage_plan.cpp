#include "apps/stage_plan.h"

#include <algorithm>
#include <array>
#include <memory>

#include "apps/batch_text.h"
#include "apps/eval_recipe.h"
#include "core/error.h"
#include "recipes/common_sections.h"
#include "recipes/generate_recipe.h"
#include "recipes/pipeline_recipe.h"
#include "recipes/recipe.h"
#include "recipes/recipe_distill.h"
#include "recipes/recipe_preference.h"
#include "recipes/recipe_sft.h"

namespace r1 {
namespace {

constexpr std::array kKinds = {
    StageKind{"grpo", StageWork::kTrain, 1}, StageKind{"sft", StageWork::kTrain, 1},          StageKind{"reward_model", StageWork::kTrain, 1},
    StageKind{"dpo", StageWork::kTrain, 1},  StageKind{"distill", StageWork::kTrain, 1},      StageKind{"generate", StageWork::kGenerate, 1},
    StageKind{"eval", StageWork::kEval, 1},
};

// A reward that another program or model gives stands for itself: it is not started before its stage runs.
class Absent : public RewardFunction {
 public:
  explicit Absent(std::string name) : name_(std::move(name)) {}
  std::string_view name() const override { return name_; }
  void score(const SampleGroup&, std::span<RewardResult>) const override { throw Error("a planned reward was asked for a score"); }

 private:
  std::string name_;
};

void read_everything(ConfigReader& options) {
  for (const std::string& key : options.keys())
    if (key != "name" && key != "as" && key != "weight" && key != "verdict" && key != "tasks") options.get_json(key);
}

RewardContext planning_context() {
  RewardContext context;
  // Named as the real ones are: a learned model by its kind, the others by what follows the last ':' or '/'.
  for (const char* key : {"python", "command", "plugin", "grpc", "model"})
    context.external[key] = [key](ConfigReader& options) -> std::unique_ptr<RewardFunction> {
      std::string name = std::string_view(key) == "model" ? options.get<std::string>("kind", "helpful") : options.get<std::string>(key, key);
      read_everything(options);
      return std::make_unique<Absent>(name.substr(name.find_last_of(":/") + 1));
    };
  context.linked["judge"] = [](ConfigReader& options) -> std::unique_ptr<RewardFunction> {
    read_everything(options);
    return std::make_unique<Absent>("judge");
  };
  context.chat_client = [](ConfigReader& options) -> ChatClient {
    for (const char* key : {"model", "url", "api_key_env", "ca_file", "timeout", "retries", "retry_wait", "extra", "threads", "max_rows", "kv_cache_gb"})
      options.get_json(key);
    return {};
  };
  return context;
}

// "2 epochs of 800 examples, 32 an update: 50 updates, learning rate 0.0001"; the number of examples where it is known before reading.
std::string examples_text(std::int64_t per_update, double epochs, std::int64_t updates, std::int64_t rows, double rate, const char* what) {
  std::string out = updates > 0 ? message(updates, " updates") : message(epochs, epochs == 1 ? " epoch" : " epochs");
  if (rows > 0) out += message(" of ", rows, " ", what);
  out += message(", ", per_update, " an update");
  if (updates == 0 && rows > 0) {
    const double total = epochs * static_cast<double>(rows) / static_cast<double>(per_update);
    out += message(" = ", static_cast<std::int64_t>(total + 0.999999), " updates");
  }
  return out + message(", learning rate ", rate);
}

StagePlan plan_of(const Recipe& r) { return {*r.resolved, {rollout_text(r), updates_text(r)}, load_of(r)}; }

StagePlan plan_of(const SftRecipe& r) {
  std::int64_t rows = 0;
  for (const SftSource& s : r.data.sources) {
    if (!s.generate) rows = -1;
    if (rows >= 0) rows += static_cast<std::int64_t>(static_cast<double>(s.generate->rows) * s.weight);
  }
  if (r.validation && r.validation->share > 0) rows = -1;
  return {*r.resolved,
          {examples_text(r.trainer.examples_per_update, r.trainer.epochs, r.steps.value_or(0), rows, r.trainer.optimizer.learning_rate.peak, "examples")}, load_of(r)};
}

StagePlan plan_of(const PreferenceRecipe& r) {
  const char* what = r.data.rows.pairs ? "pairs" : "answers";
  return {*r.resolved,
          {examples_text(r.trainer.examples_per_update, r.trainer.epochs, 0, 0, r.trainer.optimizer.learning_rate.peak, what)}, load_of(r)};
}

StagePlan plan_of(const GenerateRecipe& r) {
  if (r.mix) return {*r.resolved, {message("a mixture of ", r.mix->sources.size(), " sets")}, load_of(r)};
  if (!r.from.empty()) return {*r.resolved, {"samples drawn before, filtered anew"}, load_of(r)};
  std::int64_t samples = 0;
  std::vector<std::string> models;
  for (const EngineSection& e : r.engines)
    if (std::find(models.begin(), models.end(), e.model) == models.end()) models.push_back(e.model), samples += e.samples;
  std::string prompts = "each prompt";
  if (r.data.generate) prompts = message(r.data.limit > 0 ? std::min(r.data.limit, r.data.generate->rows) : r.data.generate->rows, " prompts");
  else if (r.data.limit > 0) prompts = message("the first ", r.data.limit, " prompts");
  const SamplingOptions& s = r.engines.at(0).sampling;
  return {*r.resolved, {message(prompts, " x ", samples, " samples of at most ", s.max_new_tokens, " tokens, temperature ", s.temperature)}, load_of(r)};
}

StagePlan plan_of(const EvalRecipe& r) {
  std::string what;
  for (const std::string& b : r.job.benchmarks) what += (what.empty() ? "" : ", ") + b;
  if (what.empty()) what = r.job.data.section.generate ? message(r.job.data.section.generate->rows, " problems") : "problems of a file";
  return {*r.resolved, {what + (r.job.samples_set && r.job.samples > 0 ? message(", ", r.job.samples, " samples an item") : "")}, load_of(r)};
}

bool names_input(const std::string& path) {
  static const std::array<std::string, 12> kKeys = {"path", "data", "teacher", "model", "template_file", "prompt_file", "init_from", "against", "from", "python", "plugin", "benchmarks"};
  std::string key;
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t dot = std::min(path.find('.', at), path.size());
    const std::string part = path.substr(at, dot - at);
    if (part.find_first_not_of("0123456789") != std::string::npos) key = part;
    at = dot + 1;
  }
  return !path.starts_with("output.") && std::find(kKeys.begin(), kKeys.end(), key) != kKeys.end();
}

}  // namespace

const StageKind& stage_kind(const Config& config) {
  std::vector<std::string> names;
  for (const StageKind& kind : kKinds) names.emplace_back(kind.name);
  ConfigReader root(config);
  const std::string name = root.get_choice("kind", names.front(), names);
  return *std::find_if(kKinds.begin(), kKinds.end(), [&](const StageKind& kind) { return kind.name == name; });
}

StagePlan plan_stage(const Config& config) {
  const StageKind& kind = stage_kind(config);
  if (kind.work == StageWork::kGenerate) return plan_of(load_generate_recipe(config, planning_context()));
  if (kind.work == StageWork::kEval) return plan_of(load_eval_recipe(config));
  if (kind.name == "grpo") return plan_of(make_recipe(config, planning_context()));
  if (kind.name == "sft") return plan_of(make_sft_recipe(config, planning_context()));
  if (kind.name != "distill") return plan_of(make_preference_recipe(config, kind.name == "reward_model"));
  switch (distill_mode(config)) {
    case DistillMode::kSft: return plan_of(make_distill_sft_recipe(config, planning_context()));
    case DistillMode::kOnPolicy: return plan_of(make_on_policy_recipe(config, planning_context()));
    case DistillMode::kLogits:
    case DistillMode::kGkd: break;
  }
  const DistillRecipe recipe = make_distill_recipe(config);
  StagePlan plan = plan_of(recipe.base);
  plan.load = load_of(recipe);
  return plan;
}

std::vector<std::pair<std::string, std::string>> named_inputs(const Config& config) {
  std::vector<std::pair<std::string, std::string>> out;
  ConfigValue root = config.root();
  for_each_value(root, [&](const std::string& path, ConfigValue& v) {
    if (!names_input(path) || v.text.find("${") != std::string::npos || is_url(v.text)) return;
    if (path.find("benchmarks.") != std::string::npos && v.text.find_first_of("./") == std::string::npos) return;  // built into the program
    std::string file = v.text;
    if (path.ends_with(".python") || path.ends_with(".plugin")) file = file.substr(0, file.rfind(':'));
    out.emplace_back(path, file);
  });
  return out;
}

std::vector<std::string> keys_without_effect(StageWork work) {
  if (work == StageWork::kGenerate) return {"output.path", "run"};
  if (work == StageWork::kEval) return {"output"};
  std::vector<std::string> out = rank_keys();
  out.insert(out.end(), {"output", "train.threads", "train.reward_threads", "rollout.gpu_memory_share", "rollout.gpu_memory_gb", "train.gpu_memory_share"});
  return out;
}

}  // namespace r1
