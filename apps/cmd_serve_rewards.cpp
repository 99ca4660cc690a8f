// r1 serve-rewards: our rewards over gRPC, and the conformance test of anybody's service.
#include <chrono>
#include <cstdio>
#include <thread>

#include "apps/command.h"
#include "apps/reward_context.h"
#include "core/error.h"
#include "core/files.h"
#include "core/json_text.h"
#include "core/signals.h"
#include "proto/reward_conformance.h"
#include "proto/reward_server.h"
#include "rewards/rubric.h"
#include "text/dataset.h"

namespace r1 {
namespace {

struct Args {
  RewardServerOptions server;
  std::string recipe, check, row, tls_ca;
  std::vector<std::string> rewards;
  int max_new_tokens = 0;
  double drain_s = 30;
  bool json = false;
};

// What is served, and who owns it.
struct Served {
  std::unique_ptr<Rubric> rubric;
  std::vector<std::unique_ptr<RewardFunction>> own;
  std::vector<ServedReward> rewards;
};

std::string summary_of(const RewardFunction& reward) {
  for (const RewardKind& kind : reward_kinds())
    if (kind.name == reward.name()) return std::string(kind.summary);
  return "";
}

Served make_served(const Args& a, const Globals& globals) {
  if (!a.recipe.empty() && !a.rewards.empty()) throw ConfigError("--recipe names the rewards already; leave --rewards out");
  RewardContext context = reward_context();
  context.max_new_tokens = a.max_new_tokens;
  Served out;
  if (!a.recipe.empty() || !a.rewards.empty()) {
    const Config config = rewards_config(a.recipe, a.rewards, context);
    ConfigReader root(config);
    if (context.max_new_tokens == 0) context.max_new_tokens = root.section("rollout").get<int>("max_new_tokens", 0);
    std::vector<ConfigReader> entries = root.sections("rewards", "name");
    if (entries.empty()) throw ConfigError(message(a.recipe, " has no rewards"));
    out.rubric = std::make_unique<Rubric>(make_rubric(entries, context));
    for (const ConfigReader& e : entries) e.finish();
    for (const Rubric::Entry& e : out.rubric->entries()) out.rewards.push_back({e.label, summary_of(*e.reward), e.reward.get()});
    return out;
  }
  for (const RewardKind& kind : reward_kinds()) {
    try {
      out.own.push_back(make_reward(std::string(kind.name), "{}", context));
      out.rewards.push_back({std::string(kind.name), std::string(kind.summary), out.own.back().get()});
    } catch (const ConfigError& e) {
      if (!globals.quiet) std::fprintf(stderr, "not served: %s (%s)\n", std::string(kind.name).c_str(), e.what());
    }
  }
  return out;
}

void serve(const Args& a, const Globals& globals) {
  install_stop_signals();
  const Served served = make_served(a, globals);
  RewardServer server(a.server, served.rewards);
  const std::string host = a.server.listen.substr(0, a.server.listen.rfind(':'));
  for (const ServedReward& r : served.rewards)
    if (!globals.quiet) std::printf("  %-24s %s\n", r.name.c_str(), r.summary.c_str());
  std::printf("listening on %s:%d\n", host.c_str(), server.port());
  std::fflush(stdout);
  while (!stop_requested()) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const int cut = server.drain(std::chrono::milliseconds(static_cast<long>(a.drain_s * 1000)));
  const RewardServer::Counts n = server.counts();
  std::printf("stopped after %ld calls: %ld failed, %ld repeated ones answered from memory\n", n.calls, n.failed, n.repeated);
  if (cut > 0) throw Error(message(cut, " calls were cut off after ", a.drain_s, " s (--drain-seconds)"));
}

int check(const Args& a) {
  ConformanceOptions o;
  o.target = a.check;
  o.tls_ca = a.tls_ca;
  if (!a.row.empty()) {
    DatasetOptions data;
    data.paths = {a.row};
    data.limit = 1;
    const Prompt p = unrendered_prompt(data, read_rows(data).at(0), 0);
    o.columns = p.columns;
    o.prompt = p.text;
    o.reference = p.reference;
  }
  const std::vector<ConformanceCase> cases = check_reward_service(o);
  int failed = 0;
  for (const ConformanceCase& c : cases) {
    using Outcome = ConformanceCase::Outcome;
    const char* word = c.outcome == Outcome::kOk ? "ok" : c.outcome == Outcome::kFailed ? "FAILED" : c.outcome == Outcome::kAdvice ? "advice" : "not tried";
    failed += c.outcome == Outcome::kFailed ? 1 : 0;
    if (a.json) std::printf("{\"case\":%s,\"outcome\":%s,\"found\":%s}\n", json_quote(c.what).c_str(), json_quote(word).c_str(), json_quote(c.found).c_str());
    else std::printf("%-9s %s%s%s\n", word, c.what.c_str(), c.found.empty() ? "" : "\n            ", c.found.c_str());
  }
  if (!a.json) std::printf(failed == 0 ? "%s keeps to the contract\n" : "%s does not keep to the contract\n", a.check.c_str());
  return failed == 0 ? 0 : kExitFailure;
}

}  // namespace

void add_serve_rewards(CLI::App& app, const Globals& globals, int& exit_code) {
  auto args = std::make_shared<Args>();
  RewardServerOptions& s = args->server;
  CLI::App* cmd = app.add_subcommand("serve-rewards", "serve rewards over gRPC (proto/rewards.proto), or check somebody's service");
  cmd->add_option("--listen", s.listen, "HOST:PORT (default 127.0.0.1:50061; port 0: any free one)");
  cmd->add_option("--rewards", args->rewards, "comma-separated names, as in r1 score (default: all that need no options)")->delimiter(',');
  cmd->add_option("--recipe", args->recipe, "serve the rewards of this recipe, under their labels");
  cmd->add_option("--concurrency", s.concurrency, "groups scored at once (default: all cores)")->check(CLI::Range(1, 4096));
  cmd->add_option("--max-message-mb", s.max_message_mb, "default 64")->check(CLI::Range(1, 1024));
  cmd->add_option("--max-new-tokens", args->max_new_tokens, "token budget of the runs that ask, for rewards of length")->check(CLI::PositiveNumber);
  cmd->add_option("--tls-cert", s.tls_cert, "PEM file; needed for addresses that other machines reach");
  cmd->add_option("--tls-key", s.tls_key, "PEM file");
  cmd->add_option("--tls-client-ca", s.tls_client_ca, "PEM file: clients must show a certificate of it");
  cmd->add_option("--drain-seconds", args->drain_s, "what runs at Ctrl-C or SIGTERM may take so long to finish (default 30)")->check(CLI::Range(0.0, 86'400.0));
  CLI::Option* check_option = cmd->add_option("--check", args->check, "HOST:PORT/NAME of a service to test against the contract; exit code 1 if it fails");
  cmd->add_option("--row", args->row, "with --check: a JSON lines file whose first row the reward can score")->needs(check_option);
  cmd->add_option("--tls-ca", args->tls_ca, "with --check: PEM file of the roots to trust, or system")->needs(check_option);
  cmd->add_flag("--json", args->json, "with --check: one JSON object a case")->needs(check_option);
  cmd->footer("Example: r1 serve-rewards --rewards math,format\n         r1 serve-rewards --check 127.0.0.1:50061/math");
  cmd->callback([args, &globals, &exit_code] {
    if (args->check.empty()) serve(*args, globals);
    else exit_code = check(*args);
  });
}

}  // namespace r1
