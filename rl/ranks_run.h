// For the tests of several ranks: a run of a tiny transformer as a body of comm/ranks_test_support.h, and its numbers.
#pragma once

#include <doctest/doctest.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <unistd.h>

#include "comm/ranks_test_support.h"
#include "core/error.h"
#include "core/signals.h"
#include "rl/transformer_run.h"

namespace r1::test {

// Calls a function after each step.
struct AtStep : TrainObserver {
  std::function<void(const StepRecord&)> call;
  void on_step(const StepRecord& r) override { call(r); }
};

// Digest of the final weights, then what the steps measured, exactly.
inline std::string train(TransformerRunOptions o, Session* session, const std::filesystem::path& folder = {}) {
  o.session = session;
  std::ostringstream numbers;
  AtStep log;
  log.call = [&](const StepRecord& r) {
    char text[128];
    for (const char* name : {"loss", "grad_norm", "reward", "mismatch/max_abs_logp", "kl", "staleness/mean", "early_stop/dropped_groups", "early_stop/kept_length", "moe/load_max_over_mean",
                             "moe/dropped"})
      if (const auto found = r.metrics.find(name); found != r.metrics.end()) {
        std::snprintf(text, sizeof text, " %a", found->second);
        numbers << text;
      }
    numbers << "\n";
  };
  TransformerRun run(o, folder, {&log});
  if (!folder.empty()) run.trainer->resume();
  run.trainer->run();
  return to_hex(run.policy->digest()) + "\n" + numbers.str();
}

inline std::string digest_line(const std::string& text) { return text.substr(0, text.find('\n')); }

inline std::vector<double> numbers_in(const std::string& text) {
  std::vector<double> out;
  const char* at = text.c_str();
  for (char* end = nullptr;; at = end) {
    const double v = std::strtod(at, &end);
    if (end == at) return out;
    out.push_back(v);
  }
}
inline std::vector<double> numbers_of(const std::string& text) { return numbers_in(text.substr(text.find('\n') + 1)); }  // of a run, without the digest

inline TransformerRunOptions rank_options() {
  TransformerRunOptions o = tiny_options();
  o.trainer.prompts_per_rollout = 5;  // uneven shares
  return o;
}

inline TransformerRunOptions wide_options() {
  TransformerRunOptions o = rank_options();
  o.wide = true;
  o.trainer.steps = 3;
  o.grpo.loss.kl_coefficient = 0;
  return o;
}

inline void same_on_all(const std::vector<RankResult>& results, const std::string& want) {
  for (const auto& r : results) {
    CAPTURE(r.output);
    CHECK(r.status == 0);
    CHECK(r.output == want);
  }
}

// One rank dies in a step (SIGKILL), or none.
struct Death { int rank = -1; std::int64_t step = 0; };

// Goes on with what lies in `folder`, alone or on the session's ranks. The digest of the final weights.
inline std::string go_on(TransformerRunOptions o, Session& s, const std::filesystem::path& folder, Death death = {}) {
  o.session = s.world() > 1 ? &s : nullptr;
  AtStep killer;
  killer.call = [&](const StepRecord& r) {
    if (s.rank() == death.rank && r.step == death.step) kill(getpid(), SIGKILL);
  };
  TransformerRun run(o, folder, {&killer});
  run.trainer->resume();
  run.trainer->run();
  return to_hex(run.policy->digest());
}

inline void others_name(const std::vector<RankResult>& results, int victim) {
  for (int r = 0; r < static_cast<int>(results.size()); ++r) {
    const RankResult& result = results[static_cast<std::size_t>(r)];
    CAPTURE(result.output);
    CHECK(result.status == (r == victim ? -SIGKILL : 1));
    if (r != victim) CHECK(result.output.find(message("error: rank ", victim)) == 0);
  }
}

// Runs until `stop` has sent one of two ranks a signal: both leave in order.
inline void stop_both(const std::filesystem::path& folder, const std::function<TransformerRunOptions(Session&)>& options,
                      const std::function<std::unique_ptr<TrainObserver>(Session&)>& stop) {
  const auto results = run_ranks(2, [&](Session& s) -> std::string {
    install_stop_signals();
    TransformerRunOptions mine = options(s);
    mine.session = &s;
    const auto observer = stop(s);
    TransformerRun run(mine, folder, {observer.get()});
    run.trainer->run();
    return {};
  });
  for (const auto& r : results) {
    CAPTURE(r.output);
    CHECK(r.status == 130);
  }
}

}  // namespace r1::test
