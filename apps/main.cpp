// r1: the one program. Parses the command line, runs a subcommand, turns errors into one clear line and an exit code.
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <string_view>

#include "apps/command.h"
#include "core/error.h"
#include "core/suggest.h"
#include "core/version.h"

namespace {

// Empty where the first word that is no flag names a command, or there is none.
std::string unknown_command(const CLI::App& app, int argc, char** argv) {
  int at = 1;
  while (at < argc && argv[at][0] == '-') at += std::string_view(argv[at]) == "--threads" ? 2 : 1;
  if (at >= argc) return "";
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands(nullptr)) names.push_back(command->get_name());
  if (std::find(names.begin(), names.end(), argv[at]) != names.end()) return "";
  const std::string near = r1::nearest_name(argv[at], names);
  return r1::message("there is no command '", argv[at], "'", near.empty() ? "" : "; did you mean '" + near + "'?", near.empty() ? "; r1 --help lists them" : "");
}

}  // namespace

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
    // What was printed may still lie in a buffer; a full disk shows here. Nobody who reads any more (head) is no error to speak of.
    if (std::fflush(stdout) != 0 || std::ferror(stdout)) {
      const int code = errno;
      if (code == EPIPE) return kExitFailure;
      throw IoError(message("cannot write to standard output: ", std::strerror(code)));
    }
    return exit_code;
  } catch (const CLI::ParseError& e) {
    if (const std::string unknown = unknown_command(app, argc, argv); e.get_exit_code() != 0 && !unknown.empty()) return fail(kExitUsage, unknown.c_str());
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
