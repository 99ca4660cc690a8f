// The part of a policy objective that uses the advantage: what makes PPO, GSPO, CISPO, ... different. One algorithm is one file
// of this folder, NAME.cpp with its test NAME_test.cpp: a pure function with value and derivative, its options with their limits,
// its name. It defines `const Surrogate& NAME_surrogate()`; CMake finds the file and puts it into the table.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace r1 {

// A number that a recipe may set under `rl:`. Surrogates may share a key; each has its own default.
struct SurrogateOption {
  std::string_view key;
  double fallback, low, high;
};

// Of one token, to be maximised. rho = policy / old policy at the ratio level, A = advantage.
struct SurrogateTerm {
  double value = 0;
  double d_ratio = 0;    // d value / d rho
  double d_logprob = 0;  // d value / d ln pi, beside what comes through rho
  bool clipped_low = false, clipped_high = false;  // outside the region, on the side where the clip acts
};

// One answer's trained tokens, [T] each.
struct AnswerTokens {
  std::span<const double> logprobs;    // ln pi, nats
  std::span<const double> log_ratio;   // ln pi - ln old
  std::span<const double> advantages;
  std::span<const double> weights;     // of a token's term in the loss: constants
};
// What is filled in, [T] each; zeroed before.
struct AnswerTerms {
  std::span<double> value;
  std::span<double> gradient;  // of sum_t weights[t] value[t] with respect to logprobs
  std::span<std::uint8_t> clipped_low, clipped_high;
};

struct Surrogate {
  std::string_view name;    // rl.surrogate
  std::string_view source;  // paper id
  std::span<const SurrogateOption> options;
  // One of the two. `options` are the values, in the order of the table above. `token`: a function of the token alone; the
  // ratio level and the chain rule through rho are the caller's. `answer`: has a ratio of its own over the whole answer.
  SurrogateTerm (*token)(double rho, double advantage, double logprob, std::span<const double> options) = nullptr;
  void (*answer)(const AnswerTokens& tokens, std::span<const double> options, AnswerTerms& out) = nullptr;
  // Key and reason of a value that is within its limits but makes no sense; may be null.
  std::optional<std::pair<std::string_view, std::string>> (*check)(std::span<const double> options) = nullptr;
};

std::span<const Surrogate* const> surrogates();        // by name
const Surrogate& find_surrogate(std::string_view name);  // throws ConfigError "rl.surrogate is ...; it can be ..."

// A surrogate with the values of its options.
class SurrogateChoice {
 public:
  SurrogateChoice() : SurrogateChoice("clip") {}
  explicit SurrogateChoice(std::string_view name);  // with the options' defaults
  const Surrogate& entry() const { return *entry_; }
  std::span<const double> values() const { return values_; }
  // Both throw ConfigError for a key that the surrogate does not have; set() also for a value outside the limits.
  double get(std::string_view key) const;
  SurrogateChoice& set(std::string_view key, double value);

 private:
  std::size_t index(std::string_view key) const;
  const Surrogate* entry_;
  std::vector<double> values_;
};

}  // namespace r1
