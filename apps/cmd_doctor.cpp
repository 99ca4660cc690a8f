// r1 doctor: what this machine can do, and what is wrong with a recipe, before anything is spent.
#include <cstdio>
#include <memory>

#include "apps/command.h"
#include "apps/doctor_subject.h"
#include "core/error.h"
#include "core/terminal.h"
#include "doctor/checks.h"

namespace r1 {
namespace {

struct Args {
  std::string recipe;
  std::vector<std::string> overrides;
  DoctorOptions options;
  bool json = false, no_sampling = false, no_machine = false;
};

int run(const Args& args, const Globals& globals) {
  Terminal::Options screen;
  screen.descriptor = 1;
  Terminal terminal(screen);
  doctor::Findings found;
  std::size_t shown = 0;
  const auto show = [&] {
    if (!args.json) terminal.print(found.text(terminal.colour(), shown), true);
    shown = found.list().size();
  };
  if (!args.no_machine) {
    doctor::check_machine(".", found);
    show();
  }
  if (!args.recipe.empty()) {
    DoctorOptions options = args.options;
    options.threads = globals.threads;
    if (args.no_sampling) options.prompts = 0;
    std::optional<Config> config;
    try {
      config = Config::load(args.recipe, args.overrides);
    } catch (const ConfigError& e) {
      found.section("recipe");
      found.error("recipe", e.what(), "");
    }
    if (config) examine_recipe(*config, options, found);
    show();
  }
  const std::size_t errors = found.count(doctor::Level::kError);
  if (args.json) std::fputs(found.json().c_str(), stdout);
  else terminal.print(message(errors, " error(s), ", found.count(doctor::Level::kWarning), " warning(s)"), true);
  return errors > 0 ? kExitUsage : 0;
}

}  // namespace

void add_doctor(CLI::App& app, const Globals& globals, int& exit_code) {
  auto args = std::make_shared<Args>();
  CLI::App* cmd = app.add_subcommand("doctor", "what this machine can do and what is wrong with a recipe, before anything is spent");
  cmd->add_option("recipe", args->recipe, "YAML file; without one only the machine is examined");
  cmd->add_option("overrides", args->overrides, "key=value, e.g. data.path=train.jsonl");
  cmd->add_option("--prompts", args->options.prompts, "prompts that the start model is asked (16)")->check(CLI::Range(0, 100000));
  cmd->add_flag("--no-sampling", args->no_sampling, "do not load the model's weights");
  cmd->add_flag("--no-machine", args->no_machine, "the recipe alone");
  cmd->add_flag("--json", args->json, "one JSON object");
  cmd->footer("Example: r1 doctor recipes/quickstart.yaml\nExit code 2 where an error was found. docs/doctor.md says what each name means.");
  cmd->callback([args, &globals, &exit_code] { exit_code = run(*args, globals); });
}

}  // namespace r1
