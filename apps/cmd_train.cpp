// r1 train: one training run from a recipe; its kind says which.
#include <memory>

#include "apps/train_kind.h"
#include "core/signals.h"

namespace r1 {

void add_train(CLI::App& app, const Globals& globals, int& exit_code) {
  struct Args { std::string recipe; std::vector<std::string> overrides; bool overwrite = false, resume = false; };
  auto args = std::make_shared<Args>();
  CLI::App* cmd = app.add_subcommand("train", "train a model by a recipe; goes on by itself where an earlier run stopped");
  cmd->add_option("recipe", args->recipe, "YAML file")->required();
  cmd->add_option("overrides", args->overrides, "key=value, e.g. rl.steps=20 output.dir=runs/try");
  cmd->add_flag("--resume", args->resume, "fail unless there is an unfinished run to go on with");
  cmd->add_flag("--overwrite", args->overwrite, "delete what an earlier run left in output.dir");
  cmd->footer("Example: r1 train recipes/quickstart.yaml rl.steps=20 output.dir=runs/try");
  cmd->callback([args, &globals, &exit_code] {
    install_stop_signals();
    const Config config = Config::load(args->recipe, args->overrides);
    std::string command_line = "r1 train " + args->recipe;
    for (const std::string& o : args->overrides) command_line += " " + o;
    exit_code = train_by_kind({config, globals, args->overwrite, args->resume, command_line});
  });
}

}  // namespace r1
