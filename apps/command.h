// The subcommands of `r1`: each adds itself to the command line and runs when it was chosen.
#pragma once

#include <CLI/CLI.hpp>

namespace r1 {

// Exit codes (docs: ux): 0 done, 1 failed at run time, 2 usage or configuration, 130 interrupted after saving.
inline constexpr int kExitFailure = 1, kExitUsage = 2, kExitInterrupted = 130;

// What the program was given before and after the subcommand's name.
struct Globals {
  bool quiet = false;   // errors and results only
  int threads = 0;      // 0 = all usable cores
};

// Each registers a subcommand whose callback does the work; it throws core/error.h's classes.
void add_train(CLI::App& app, const Globals& globals, int& exit_code);
void add_pipeline(CLI::App& app, const Globals& globals, int& exit_code);
void add_plan(CLI::App& app, const Globals& globals, int& exit_code);
void add_generate(CLI::App& app, const Globals& globals, int& exit_code);
void add_eval(CLI::App& app, const Globals& globals, int& exit_code);
void add_score(CLI::App& app, const Globals& globals, int& exit_code);
void add_serve(CLI::App& app, const Globals& globals, int& exit_code);
void add_serve_rewards(CLI::App& app, const Globals& globals, int& exit_code);
void add_verify(CLI::App& app, const Globals& globals, int& exit_code);
void add_chat(CLI::App& app, const Globals& globals, int& exit_code);
void add_convert(CLI::App& app, const Globals& globals, int& exit_code);
void add_inspect(CLI::App& app, const Globals& globals, int& exit_code);
void add_data(CLI::App& app, const Globals& globals, int& exit_code);
void add_report(CLI::App& app, const Globals& globals, int& exit_code);
void add_doctor(CLI::App& app, const Globals& globals, int& exit_code);
void add_replay(CLI::App& app, const Globals& globals, int& exit_code);
void add_watch(CLI::App& app, const Globals& globals, int& exit_code);
void add_card(CLI::App& app, const Globals& globals, int& exit_code);
void add_hub(CLI::App& app, const Globals& globals, int& exit_code);
void add_bench(CLI::App& app, const Globals& globals, int& exit_code);
void add_docs(CLI::App& app, const Globals& globals, int& exit_code);

}  // namespace r1
