// r1: the one program. Parses the command line, runs a subcommand, turns errors into one clear line and an exit code.
#include <cstdio>
#include <exception>
#include <new>

#include "apps/command.h"
#include "core/error.h"
#include "core/version.h"

int main(int argc, char** argv) {
  using namespace r1;
  CLI::App app{"r1: reinforcement-learning post-training of language models (rollout, verifiers, GRPO)"};
  app.set_version_flag("--version", std::string("r1 ") + version());
  app.require_subcommand(1);
  app.failure_message([](const CLI::App*, const CLI::Error& e) {
    return std::string("r1: error: ") + e.what() + "; r1 --help and r1 COMMAND --help list what there is\n";
  });
  Globals globals;
  int exit_code = 0;
  app.add_flag("-q,--quiet", globals.quiet, "print results and errors only");
  app.add_option("--threads", globals.threads, "compute threads (default: all usable cores)")->check(CLI::Range(0, 4096));
  app.fallthrough();
  app.footer("Example: r1 train recipes/quickstart.yaml rl.steps=20\nEvery command has --help with an example.");
  add_train(app, globals, exit_code);
  add_pipeline(app, globals, exit_code);
  add_plan(app, globals, exit_code);
  add_generate(app, globals, exit_code);
  add_eval(app, globals, exit_code);
  add_score(app, globals, exit_code);
  add_serve(app, globals, exit_code);
  add_serve_rewards(app, globals, exit_code);
  add_verify(app, globals, exit_code);
  add_chat(app, globals, exit_code);
  add_convert(app, globals, exit_code);
  add_inspect(app, globals, exit_code);
  add_data(app, globals, exit_code);
  add_report(app, globals, exit_code);
  add_doctor(app, globals, exit_code);
  add_replay(app, globals, exit_code);
  add_watch(app, globals, exit_code);
  add_card(app, globals, exit_code);
  add_hub(app, globals, exit_code);
  add_bench(app, globals, exit_code);
  add_docs(app, globals, exit_code);

  const auto fail = [](int code, const char* what) {
    std::fflush(stdout);
    std::fprintf(stderr, "r1: error: %s\n", what);
    return code;
  };
  try {
    app.parse(argc, argv);
    return exit_code;
  } catch (const CLI::ParseError& e) {
    const int code = app.exit(e);
    return code == 0 ? 0 : kExitUsage;
  } catch (const ConfigError& e) { return fail(kExitUsage, e.what());
  } catch (const DataError& e) { return fail(kExitUsage, e.what());
  } catch (const Interrupted& e) { return fail(kExitInterrupted, e.what());
  } catch (const Error& e) { return fail(kExitFailure, e.what());
  } catch (const std::bad_alloc&) { return fail(kExitFailure, "out of memory; lower train.tokens_per_micro_batch or rollout.kv_cache_gb");
  } catch (const std::exception& e) { return fail(kExitFailure, e.what());
  }
}
