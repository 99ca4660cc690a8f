// report_unreadable, check_settings
#include <algorithm>
#include <system_error>

#include "core/error.h"
#include "core/format.h"
#include "doctor/checks.h"
#include "recipes/peer_keys.h"
#include "recipes/pipeline_recipe.h"

namespace r1::doctor {
namespace {

void check_rates(const Recipe& recipe, Findings& out) {
  const double rate = recipe.learner.optimizer.learning_rate.peak;
  const double high = recipe.lora ? 5e-3 : 1e-4;
  if (rate == 0) out.error("learning-rate", "rl.learning_rate is 0: nothing is learnt", "1e-6 is usual for 1B to 70B parameters, 3e-5 for 135M");
  else if (rate > high)
    out.warning("learning-rate", message("rl.learning_rate is ", rate, recipe.lora ? " for LoRA pairs" : " for all parameters", ": policies collapse above about ", high),
                "1e-6 is usual for 1B to 70B parameters, 3e-5 for 135M, 1e-5 to 1e-4 for LoRA");
  else if (rate < 1e-8) out.warning("learning-rate", message("rl.learning_rate is ", rate, ": bfloat16 weights hardly move"), "1e-6 is usual");
}

void check_counts(const Recipe& recipe, Findings& out) {
  const TrainerOptions& t = recipe.trainer;
  const std::int64_t completions = std::int64_t{t.prompts_per_rollout} * t.samples_per_prompt;
  out.good("batch", message(t.prompts_per_rollout, " prompts x ", t.samples_per_prompt, " samples = ", completions, " completions a rollout, ",
                            recipe.learner.updates_per_rollout, " update(s) on it of about ", completions / recipe.learner.updates_per_rollout,
                            " completions; ", t.steps, " updates take ",
                            (t.steps + recipe.learner.updates_per_rollout - 1) / recipe.learner.updates_per_rollout, " rollouts"));
  if (t.samples_per_prompt > 1 && t.samples_per_prompt < 4)
    out.note("few-samples", message("rollout.samples_per_prompt is ", t.samples_per_prompt, ": most groups of a hard or an easy prompt will be all wrong or all right"),
             "8 or 16 are usual");
  if (t.save_every == 0 || t.save_every > t.steps)
    out.note("save-late", message("output.save_every is ", t.save_every, " of ", t.steps, " updates: the only checkpoint is the last one"),
             "an interrupted run then repeats its updates from the start (its samples are kept)");
  if (!recipe.eval_data)
    out.note("no-evaluation", "eval: has no data, so only the reward on training prompts will show progress", "set eval.data to prompts that are not trained on");
  if (recipe.audit.auditor == nullptr) out.note("no-audit", "audit.share is 0 or check none: nobody checks the rewards during the run");
}

// Weights, gradients, master and moments; activations and keys are `r1 plan`'s.
void check_room(const Recipe& recipe, const ModelConfig& model, Findings& out) {
  const double parameters = static_cast<double>(model.num_parameters());
  const double checkpoint = parameters * (recipe.model.dtype == DType::kBF16 ? 2 : 4) + (recipe.lora ? 0 : parameters * 12);
  const double wanted = checkpoint * ((recipe.output.keep > 0 ? recipe.output.keep : 1) + 1);
  std::error_code error;
  std::filesystem::path there = std::filesystem::absolute(recipe.output.dir, error);
  while (!std::filesystem::exists(there, error) && there != there.root_path()) there = there.parent_path();
  const std::filesystem::space_info space = std::filesystem::space(there, error);
  const std::string need = message(recipe.output.keep > 0 ? recipe.output.keep : 1, " checkpoints and one being written take about ", human_bytes(static_cast<std::uint64_t>(wanted)));
  if (!error && static_cast<double>(space.available) < wanted)
    out.error("disk-room", message(need, ", ", there.string(), " has ", human_bytes(space.available)), "lower output.keep or set output.dir elsewhere");
  else out.good("disk-room", need);
  if (std::filesystem::exists(recipe.output.dir / "config.yaml", error))
    out.note("run-folder", message(recipe.output.dir.string(), " holds a run already: `r1 train` goes on with it, if its settings are the same"),
             "another output.dir, or --overwrite, starts anew");
}

}  // namespace

void report_unreadable(const std::string& error, const Config& config, Findings& out) {
  out.section("recipe");
  std::string remedy;
  ConfigValue root = config.root();
  for_each_value(root, [&](const std::string& path, ConfigValue&) {
    const PeerKey* key = find_peer_key(path.substr(path.rfind('.') + 1));
    if (key && error.find(path) != std::string::npos && path != key->ours) remedy += (remedy.empty() ? "" : "\n") + peer_key_text(*key);
  });
  out.error("recipe", error, remedy);
}

void check_settings(const Recipe& recipe, const ModelConfig* model, Findings& out) {
  out.section("recipe");
  for (const std::string& warning : recipe.warnings) out.warning("recipe-warning", warning, "");
  check_counts(recipe, out);
  check_rates(recipe, out);
  if (model) check_room(recipe, *model, out);
}

}  // namespace r1::doctor
