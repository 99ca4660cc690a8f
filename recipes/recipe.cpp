#include "recipes/recipe.h"

#include <algorithm>
#include <array>

#include "core/error.h"
#include "core/suggest.h"
#include "recipes/presets.h"

namespace r1 {
namespace {

void read_numerics(ConfigReader reader, Recipe& recipe) {
  recipe.train = detail::read_train(reader);
  for (const char* key : {"master", "moments", "gradients", "offload"}) {
    if (recipe.model.device == "cpu") reader.reject(key, "model.device is cpu, where all of it is float32 in the host's memory");
    if (recipe.lora && std::string(key) != "gradients") reader.reject(key, "lora is set: the adapters' optimizer is float32 and small");
  }
  if (recipe.train.tokens_per_micro_batch) recipe.learner.tokens_per_micro_batch = *recipe.train.tokens_per_micro_batch;
  const SamplingOptions& s = recipe.trainer.sampling;
  const bool filtered = s.top_k != 0 || s.top_p < 1.f || s.min_p > 0.f;
  const bool asked = reader.has("numerics");
  const bool exact = reader.get_choice("numerics", "exact", std::array<std::string, 2>{"exact", "fast"}) == "exact";
  recipe.learner.exact = exact && !filtered;
  if (exact && filtered && asked)
    reader.fail("numerics", "exact cannot hold where rollout.top_k, top_p or min_p cut the distribution; leave them out, or use numerics: fast");
  // Rewards with several workers of their own get as many calls at once, unless the recipe says otherwise.
  int workers = 1;
  for (const Rubric::Entry& e : recipe.rubric->entries()) workers = std::max(workers, e.reward->concurrency());
  recipe.trainer.reward_threads = reader.get_in<int>("reward_threads", std::min(workers, 256), 1, 256);
  if (recipe.trainer.reward_threads < workers)
    recipe.warnings.push_back(message("train.reward_threads is ", recipe.trainer.reward_threads, ", so of a reward's ", workers,
                                      " workers no more than that are ever busy; raise it or leave it out"));
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

}  // namespace

Recipe make_recipe(const Config& written, RewardContext context) {
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
  const bool distill = config.peek("kind") == "distill";  // mode on_policy: recipes/recipe_distill.h
  root.get_choice("kind", "grpo", std::array<std::string, 1>{distill ? "distill" : "grpo"});
  Recipe recipe;
  recipe.name = detail::recipe_name(config);
  recipe.trainer.seed = root.get<std::uint64_t>("seed", 0);
  recipe.model = detail::read_model(root.section("model"));
  ConfigReader data = root.section("data");
  recipe.data = detail::read_data(data, "train");
  ConfigReader rollout = root.section("rollout");
  detail::read_rollout(rollout, recipe);
  context.max_new_tokens = recipe.trainer.sampling.max_new_tokens;
  if (distill && !root.has("rewards")) recipe.rubric = detail::no_reward();
  else recipe.rubric = std::make_shared<const Rubric>(make_rubric(root.sections("rewards", "name"), context));
  detail::read_rl(root.section("rl"), recipe);
  if (distill) detail::read_on_policy(root, recipe);
  detail::EvalSection eval = detail::read_eval(root.section("eval"), recipe.data, recipe.trainer.sampling, recipe.trainer.seed);
  recipe.eval_data = std::move(eval.data);
  recipe.trainer.eval_every = eval.every, recipe.trainer.eval_at_start = eval.at_start, recipe.trainer.eval = eval.options;
  detail::read_audit(root.section("audit"), config, context, recipe);
  recipe.lora = detail::read_lora(root, recipe.trainer.seed, "what is sampled and what is learnt from must be one model");
  read_numerics(root.section("train"), recipe);
  recipe.output = detail::read_output(root.section("output"), recipe.name, true);
  recipe.trainer.save_every = recipe.output.save_every;
  root.finish();
  check_together(recipe, rollout);
  recipe.learner.seed = recipe.trainer.seed;
  recipe.resolved = root.resolved();
  recipe.trainer.config_digest = recipe_digest(recipe);
  return recipe;
}

Recipe load_recipe(const std::filesystem::path& path, std::span<const std::string> overrides, RewardContext context) {
  return make_recipe(Config::load(path, overrides), std::move(context));
}

Recipe parse_recipe(const std::string& yaml, const std::string& name, std::span<const std::string> overrides,
                    RewardContext context) {
  return make_recipe(Config::parse(yaml, name, overrides), std::move(context));
}

std::string recipe_digest(const Recipe& recipe) {
  std::vector<std::string> ignore = {"output", "eval", "audit", "train.threads", "train.reward_threads", "train.numerics", "model.device", "rollout.gpu_memory_share", "rollout.gpu_memory_gb", "rollout.engine", "rollout.grpc", "rl.async.patience_s"};
  for (std::string& key : rank_keys()) ignore.push_back(std::move(key));
  if (recipe.learner.optimizer.learning_rate.schedule == LrSchedule::kConstant) ignore.emplace_back("rl.steps");
  return to_hex(recipe.resolved->digest(ignore));
}

}  // namespace r1
