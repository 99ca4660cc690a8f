// Does somebody's reward service keep to proto/rewards.proto? For `r1 serve-rewards --check`.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/config.h"

namespace r1 {

struct ConformanceOptions {
  std::string target;                          // host:port/name, as in a recipe
  std::map<std::string, std::string> columns;  // of a row that the reward can score, as JSON texts
  std::string prompt = "What is 1 + 1?", reference = "2";
  std::vector<std::string> completions;        // that it can score; empty = ours
  double timeout_s = 30;                       // of each call
  std::string tls_ca;                          // file or "system"; "" = loopback without TLS
};

struct ConformanceCase {
  enum class Outcome { kOk, kFailed, kAdvice, kNotTried } outcome = Outcome::kOk;
  std::string what, found;  // what was tried; what came, and the remedy, where it is not as it must be
};

// Advice is what a service may leave out (health, answering repeated requests from memory). Throws ConfigError for a
// target that cannot be read.
std::vector<ConformanceCase> check_reward_service(const ConformanceOptions& options);

}  // namespace r1
