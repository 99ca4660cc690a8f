#include "apps/batch_text.h"

#include "core/error.h"

namespace r1 {

std::string rollout_text(const Recipe& recipe) {
  const TrainerOptions& t = recipe.trainer;
  const std::int64_t completions = std::int64_t{t.prompts_per_rollout} * t.samples_per_prompt;
  return message(t.prompts_per_rollout, " prompts x ", t.samples_per_prompt, " samples = ", completions, " completions of at most ",
                 t.sampling.max_new_tokens, " tokens, temperature ", t.sampling.temperature);
}

namespace {
std::string overlap_text(const AsyncOptions& o) {
  if (o.max_staleness == 0) return "";
  return message(", beside the next rollouts: staleness ", o.max_staleness, o.free_running ? ", free running" : "");
}
}  // namespace

std::string updates_text(const Recipe& recipe) {
  return message(recipe.trainer.steps, " updates, ", recipe.learner.updates_per_rollout, " a rollout, learning rate ",
                 recipe.learner.optimizer.learning_rate.peak, overlap_text(recipe.trainer.async));
}

}  // namespace r1
