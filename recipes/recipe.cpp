#include "recipes/recipe.h"

#include <algorithm>
#include <array>

#include "core/error.h"
#include "core/suggest.h"
#include "recipes/presets.h"

namespace r1 {
namespace {

void read_model(ConfigReader reader, Recipe& recipe) {
  recipe.model.path = reader.require<std::string>("path");
  if (recipe.model.path.empty()) reader.fail("path", "is empty; name a model folder, a GGUF file or a hub name");
  const std::string dtype = reader.get_choice("dtype", "bfloat16", std::array<std::string, 2>{"bfloat16", "float32"});
  recipe.model.device = reader.get_choice("device", "auto", std::array<std::string, 3>{"auto", "cpu", "cuda"});
  recipe.model.dtype = dtype == "float32" ? DType::kF32 : DType::kBF16;
}

void read_train(ConfigReader reader, Recipe& recipe) {
  // 0 = what suits the device: 8192 on the CPU, by memory on the GPU.
  if (const auto rows = reader.get_in<std::int64_t>("tokens_per_micro_batch", 0, 0, std::int64_t{1} << 30); rows > 0)
    recipe.tokens_per_micro_batch = recipe.learner.tokens_per_micro_batch = rows;
  const SamplingOptions& s = recipe.trainer.sampling;
  const bool filtered = s.top_k != 0 || s.top_p < 1.f || s.min_p > 0.f;
  const bool asked = reader.has("numerics");
  const bool exact = reader.get_choice("numerics", "exact", std::array<std::string, 2>{"exact", "fast"}) == "exact";
  recipe.learner.exact = exact && !filtered;
  if (exact && filtered && asked)
    reader.fail("numerics", "exact cannot hold where rollout.top_k, top_p or min_p cut the distribution; leave them out, or use numerics: fast");
  const std::string recompute = reader.get_choice("recompute", "auto", std::array<std::string, 3>{"auto", "true", "false"});
  if (recompute != "auto") recipe.recompute = recompute == "true";
  recipe.threads = reader.get_in<int>("threads", 0, 0, 4096);
  // Rewards with several workers of their own get as many calls at once, unless the recipe says otherwise.
  int workers = 1;
  for (const Rubric::Entry& e : recipe.rubric->entries()) workers = std::max(workers, e.reward->concurrency());
  recipe.trainer.reward_threads = reader.get_in<int>("reward_threads", std::min(workers, 256), 1, 256);
  if (recipe.trainer.reward_threads < workers)
    recipe.warnings.push_back(message("train.reward_threads is ", recipe.trainer.reward_threads, ", so of a reward's ", workers,
                                      " workers no more than that are ever busy; raise it or leave it out"));
}

void read_output(ConfigReader reader, Recipe& recipe) {
  recipe.output.dir = reader.get<std::filesystem::path>("dir", std::filesystem::path("runs") / recipe.name);
  if (recipe.output.dir.empty()) reader.fail("dir", "is empty; name a folder for the run");
  recipe.trainer.save_every = reader.get_in<std::int64_t>("save_every", 50, 0, 1'000'000'000);
  recipe.output.keep = reader.get_in<int>("keep", 3, 0, 1'000'000);
  recipe.output.samples_every = reader.get_in<std::int64_t>("samples_every", 10, 0, 1'000'000'000);
  recipe.output.tensorboard = reader.get<bool>("tensorboard", true);
}

// What two sections say together.
void check_together(const Recipe& recipe, ConfigReader& rollout) {
  for (const Rubric::Entry& e : recipe.rubric->entries()) {
    if (e.reward->name() != "format") continue;
    const auto& stops = recipe.trainer.sampling.stop_strings;
    if (std::find(stops.begin(), stops.end(), "</answer>") == stops.end()) continue;
    // The stop string is cut from the text, so the tag would never be seen closed.
    Completion c;
    c.text = "<think>a</think><answer>b";
    c.stop = StopReason::kStop;
    std::vector<RewardResult> result(1);
    e.reward->score(SampleGroup{{}, {c}}, result);
    if (result[0].value == 0.f) {
      rollout.fail("stop", "\"</answer>\" is cut from the text, so reward '" + e.label +
                               "' would never see the answer closed; add stop_closes_answer: true to that reward");
    }
  }
}

Recipe build(const Config& written, RewardContext context) {
  Config config = written;
  if (const auto name = config.peek("rl.preset"); name && !name->empty()) {
    const Preset* preset = find_preset(*name);
    if (!preset) {
      std::vector<std::string> names;
      for (const Preset& p : presets()) names.emplace_back(p.name);
      const std::string near = nearest_name(*name, names);
      ConfigReader root(config);
      root.section("rl").fail(
          "preset", message("= ", *name, " is no preset", near.empty() ? "" : message("; did you mean '", near, "'?"),
                            " Known: ", join_names(names)));
    }
    config = config.with_defaults(std::string(preset->yaml), std::string(preset->name));
  }
  ConfigReader root(config);
  root.get_choice("kind", "grpo", std::array<std::string, 1>{"grpo"});
  Recipe recipe;
  recipe.name = std::filesystem::path(config.name()).stem().string();
  recipe.trainer.seed = root.get<std::uint64_t>("seed", 0);
  read_model(root.section("model"), recipe);
  ConfigReader data = root.section("data");
  recipe.data = detail::read_data(data, "train");
  ConfigReader rollout = root.section("rollout");
  detail::read_rollout(rollout, recipe);
  context.max_new_tokens = recipe.trainer.sampling.max_new_tokens;
  recipe.rubric = std::make_shared<const Rubric>(make_rubric(root.sections("rewards", "name"), context));
  detail::read_rl(root.section("rl"), recipe);
  detail::read_eval(root.section("eval"), recipe);
  detail::read_audit(root.section("audit"), config, context, recipe);
  read_train(root.section("train"), recipe);
  read_output(root.section("output"), recipe);
  root.finish();
  check_together(recipe, rollout);
  recipe.learner.seed = recipe.trainer.seed;
  recipe.resolved = root.resolved();
  recipe.trainer.config_digest = recipe_digest(recipe);
  return recipe;
}

}  // namespace

Recipe load_recipe(const std::filesystem::path& path, std::span<const std::string> overrides, RewardContext context) {
  return build(Config::load(path, overrides), std::move(context));
}

Recipe parse_recipe(const std::string& yaml, const std::string& name, std::span<const std::string> overrides,
                    RewardContext context) {
  return build(Config::parse(yaml, name, overrides), std::move(context));
}

std::string recipe_digest(const Recipe& recipe) {
  std::vector<std::string> ignore = {"output", "eval", "audit", "train.threads", "train.reward_threads", "train.numerics", "model.device", "rollout.gpu_memory_share"};
  if (recipe.learner.optimizer.learning_rate.schedule == LrSchedule::kConstant) ignore.emplace_back("rl.steps");
  return to_hex(recipe.resolved->digest(ignore));
}

}  // namespace r1
