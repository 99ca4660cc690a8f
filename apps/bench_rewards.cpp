#include "apps/bench_rewards.h"

#include <cstdio>
#include <iostream>
#include <memory>

#include <nlohmann/json.hpp>

#include "core/compute_pool.h"
#include "core/machine.h"
#include "core/version.h"
#include "rewards/code/sandbox_bench.h"
#include "rewards/rewards_bench.h"

namespace r1 {
namespace {

// A line a case, then one with what they say together.
void print_sandbox(int runs) {
  using Json = nlohmann::ordered_json;
  Json all = Json::parse(code::measure_sandbox(runs));
  const Json cases = all["cases"];
  all.erase("cases");
  const auto print = [&](Json line, const Json& more) {
    line.update(more);
    line.update({{"machine", cpu_name()}, {"cores", usable_cores()}, {"commit", git_commit()}});
    std::printf("%s\n", line.dump().c_str());
  };
  for (Json c : cases) {
    const Json name = c["name"];
    c.erase("name");
    print({{"bench", "sandbox"}, {"case", name}, {"runs", runs}, {"threads", 1}}, c);
  }
  print({{"bench", "sandbox"}, {"case", "summary"}}, all);
}

}  // namespace

void add_reward_benches(CLI::App& bench, const int& threads) {
  struct Args {
    RewardsBenchOptions rewards;
    int runs = 100;
  };
  auto args = std::make_shared<Args>();
  CLI::App* rewards = bench.add_subcommand("rewards", "checks/s and times of maths, format, language and text rewards");
  rewards->add_option("--seconds", args->rewards.seconds, "for each case and number of threads (default 0.5)")->check(CLI::Range(0.01, 60.0));
  rewards->add_option("--case", args->rewards.only, "only cases whose name begins so");
  rewards->footer("Runs each case with one thread and with --threads. Example: r1 bench rewards --case math");
  rewards->callback([args, &threads] {
    args->rewards.threads = threads > 0 ? threads : usable_cores();
    run_rewards_bench(args->rewards, std::cout);
  });
  CLI::App* sandbox = bench.add_subcommand("sandbox", "what isolation costs, beside bare spawn and the peers that are installed");
  sandbox->add_option("--runs", args->runs, "of each case, taking turns (default 100)")->check(CLI::Range(3, 100000));
  sandbox->footer("Example: r1 bench sandbox --runs 50");
  sandbox->callback([args] { print_sandbox(args->runs); });
}

}  // namespace r1
