// For the tests of several ranks: a run of a tiny transformer as a body of comm/ranks_test_support.h, and its numbers.
#pragma once

#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "comm/ranks_test_support.h"
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
    for (const char* name : {"loss", "grad_norm", "reward", "mismatch/max_abs_logp", "kl", "staleness/mean", "early_stop/dropped_groups", "early_stop/kept_length"})
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

inline std::vector<double> numbers_of(const std::string& text) {
  std::vector<double> out;
  const char* at = text.c_str() + text.find('\n');
  for (char* end = nullptr;; at = end) {
    const double v = std::strtod(at, &end);
    if (end == at) return out;
    out.push_back(v);
  }
}

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


}  // namespace r1::test
