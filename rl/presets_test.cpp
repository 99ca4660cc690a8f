#include "recipes/presets.h"

#include <doctest/doctest.h>

#include "core/error.h"
#include "recipes/recipe.h"
#include "rl/table_run.h"

namespace r1 {

TEST_CASE("a bandit reaches its optimum under every preset, through the real recipe, learner and trainer") {
  CHECK(presets().size() >= 4);
  for (const Preset& preset : presets()) {
    CAPTURE(preset.name);
    const std::string yaml =
        message("model: {path: x}\ndata: {generate: {task: add, level: 1, n: 10}}\nrewards: [{name: math}]\n",
                "seed: 1\nrl: {preset: ", preset.name, ", steps: 240, learning_rate: 0.05, warmup_steps: 0, ",
                "prompts_per_rollout: 16}\nrollout: {samples_per_prompt: 8, max_new_tokens: 1}\n");
    const Recipe recipe = parse_recipe(yaml, "bandit.yaml");
    test::RunOptions options{recipe.learner, recipe.trainer};
    options.trainer.eval_every = 0;
    options.trainer.eval_at_start = false;
    test::TableRun run(options, {});
    CHECK(run.skill() == doctest::Approx(1.0 / 6));
    run.trainer->run();
    CHECK(run.trainer->step() == 240);
    CHECK(run.skill() > 0.9);
  }
}

}  // namespace r1
