// r1-verify: `r1 verify` and the rewards' benchmarks alone, for builds without LibTorch.
#include <cstdio>
#include <exception>
#include <new>

#include "apps/bench_rewards.h"
#include "apps/verify_command.h"
#include "core/error.h"
#include "core/version.h"

int main(int argc, char** argv) {
  using namespace r1;
  CLI::App app{"r1-verify: maths, code, format and language checks of r1, JSON lines in and out"};
  app.set_version_flag("--version", std::string("r1-verify ") + version());
  bool quiet = false;
  int threads = 0;
  app.add_flag("-q,--quiet", quiet, "print replies and fatal errors only");
  app.add_option("--threads", threads, "lines judged at a time (default: all usable cores)")->check(CLI::Range(0, 4096));
  app.fallthrough();
  if (argc > 1 && std::string_view(argv[1]) == "bench") {
    CLI::App* bench = app.add_subcommand("bench", "speed on this machine, one JSON line a case");
    bench->require_subcommand(1);
    add_reward_benches(*bench, threads);
  } else {
    set_up_verify(app, threads, quiet);
  }
  const auto fail = [](int code, const char* what) {
    std::fprintf(stderr, "r1-verify: error: %s\n", what);
    return code;
  };
  try {
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::ParseError& e) { return app.exit(e) == 0 ? 0 : 2;
  } catch (const ConfigError& e) { return fail(2, e.what());
  } catch (const Interrupted& e) { return fail(130, e.what());
  } catch (const std::bad_alloc&) { return fail(1, "out of memory; lower --threads or --max-line-mb");
  } catch (const std::exception& e) { return fail(1, e.what());
  }
}
