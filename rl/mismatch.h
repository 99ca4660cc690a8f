// Weights against the difference between the sampler's and the learner's probabilities: w = old policy / sampler, per token, a
// constant in the backward pass. A method is one entry of the table in mismatch.cpp.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace r1 {

enum class MismatchUnit : std::uint8_t { kToken, kAnswer };  // what one weight is of

struct MismatchMethod {
  std::string_view name;  // rl.mismatch.correction
  MismatchUnit unit = MismatchUnit::kToken;
  double floor = 0, cap = 0;  // defaults
  bool has_floor = true;
  // One answer: log_w [T] nats -> weights [T]. Null: no correction.
  void (*weigh)(std::span<const double> log_w, double floor, double cap, std::span<double> weights) = nullptr;
};

// none;
// token_tis      clip(w_t, floor, cap)
// sequence_tis   clip(prod_t w_t, floor, cap)
// token_mis      w_t if floor <= w_t <= cap, else 0 (IcePop, arXiv:2510.18855)
// sequence_mis   prod_t w_t if within [floor, cap], else 0
// geometric_mask 1 if exp(mean_t ln w_t) is within [floor, cap], else 0: does not depend on the length
// k3_mask        1 if mean_t(w_t - ln w_t - 1) <= cap, else 0
std::span<const MismatchMethod> mismatch_methods();
const MismatchMethod& find_mismatch_method(std::string_view name);  // throws ConfigError naming the methods

struct MismatchOptions {
  MismatchOptions() : MismatchOptions("token_tis") {}
  explicit MismatchOptions(std::string_view method);  // with its floor and cap
  const MismatchMethod* method;
  double floor, cap;
  bool normalize = false;  // divide by the update's mean weight (over tokens, or over answers where an answer has one weight)
};

// Sums for that mean, over the answers of an update.
class MismatchMean {
 public:
  void add(std::span<const double> log_w, const MismatchOptions& options);
  double mean(const MismatchOptions& options) const;  // 1 if every weight is 0
 private:
  double sum_ = 0;
  std::int64_t tokens_ = 0, answers_ = 0;
};

}  // namespace r1
