// r1 data: makes rows of a small task whose answers can be checked; the same rows on every machine.
#include <cstdio>

#include "apps/command.h"
#include "core/error.h"
#include "core/files.h"
#include "text/tasks.h"

namespace r1 {

void add_data(CLI::App& app, const Globals&, int&) {
  struct Args { TaskOptions task; std::int64_t n = 100; std::string out; };
  auto args = std::make_shared<Args>();
  CLI::App* cmd = app.add_subcommand("data", "make a data set of a small task; train and test never share a prompt");
  std::string tasks;
  for (const std::string& name : task_names()) tasks += "\n  " + name + ": " + task_help(name);
  cmd->add_option("task", args->task.task, "which task" + tasks)->required();
  cmd->add_option("--level,-l", args->task.level, "difficulty (default 1)");
  cmd->add_option("--split", args->task.split, "train (default) or test");
  cmd->add_option("--n,-n", args->n, "rows (default 100)")->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 40));
  cmd->add_option("--seed", args->task.seed, "default 0");
  cmd->add_flag("--worked", args->task.worked, "add a column \"completion\" that works the answer out (add, sub, chain): data for kind: sft");
  cmd->add_flag("--pairs", args->task.pairs,
                "add columns \"chosen\" and \"rejected\": worked answers, the latter with one wrong step (add, sub, chain): data for kind: reward_model and dpo");
  cmd->add_option("--out,-o", args->out, "JSON lines file (default: standard output)");
  cmd->footer("Example: r1 data add --level 2 --split test --n 300 --out add2_test.jsonl");
  cmd->callback([args] {
    std::string text;
    for (std::int64_t i = 0; i < args->n; ++i) {
      text += make_task_line(args->task, i) + "\n";
      if (args->out.empty() && text.size() > (1 << 20)) {
        std::fwrite(text.data(), 1, text.size(), stdout);
        text.clear();
      }
    }
    if (!args->out.empty()) return write_file_atomic(args->out, text);
    std::fwrite(text.data(), 1, text.size(), stdout);
  });
}

}  // namespace r1
