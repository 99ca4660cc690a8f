// r1 train: one training run from a recipe; its kind says which.
#include <memory>

#include "apps/import_trl.h"
#include "apps/train_kind.h"
#include "core/error.h"
#include "core/signals.h"

namespace r1 {

void add_train(CLI::App& app, const Globals& globals, int& exit_code) {
  struct Args { std::string recipe; std::vector<std::string> overrides; bool overwrite = false, resume = false, from_trl = false, import_only = false; int processes = 1; std::int64_t rows = 0; };
  auto args = std::make_shared<Args>();
  CLI::App* cmd = app.add_subcommand("train", "train a model by a recipe; goes on by itself where an earlier run stopped");
  cmd->add_option("recipe", args->recipe, "YAML file")->required();
  cmd->add_option("overrides", args->overrides, "key=value, e.g. rl.steps=20 output.dir=runs/try");
  cmd->add_flag("--resume", args->resume, "fail unless there is an unfinished run to go on with");
  cmd->add_flag("--overwrite", args->overwrite, "delete what an earlier run left in output.dir");
  cmd->add_flag("--from-trl", args->from_trl, "the file is a recipe of TRL or open-r1: it is written as NAME.r1.yaml with what became of each key, then trained");
  cmd->add_flag("--import-only", args->import_only, "with --from-trl: write the recipe and end");
  cmd->add_option("--processes", args->processes, "with --from-trl: GPUs that the recipe was meant for, which multiply its batch (1)")->check(CLI::Range(1, 100'000));
  cmd->add_option("--rows", args->rows, "with --from-trl: rows of its data set, where it is not here yet and num_train_epochs counts")->check(CLI::PositiveNumber);
  cmd->footer("Example: r1 train recipes/quickstart.yaml rl.steps=20 output.dir=runs/try");
  cmd->callback([args, &globals, &exit_code] {
    install_stop_signals();
    if (!args->from_trl && (args->import_only || args->processes != 1 || args->rows != 0)) throw ConfigError("--import-only, --processes and --rows belong to --from-trl");
    if (args->from_trl) args->recipe = import_trl_file({args->recipe, args->processes, args->rows, args->overrides, globals.quiet}).string();
    if (args->import_only) return;
    const Config config = Config::load(args->recipe, args->overrides);
    std::string command_line = "r1 train " + args->recipe;
    for (const std::string& o : args->overrides) command_line += " " + o;
    exit_code = train_by_kind({config, globals, args->overwrite, args->resume, command_line});
  });
}

}  // namespace r1
