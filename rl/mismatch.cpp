#include "rl/mismatch.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "core/error.h"

namespace r1 {
namespace {

constexpr double kMaxLog = 20;
double clamped_exp(double x) { return std::exp(std::clamp(x, -kMaxLog, kMaxLog)); }
double product(std::span<const double> log_w) { return clamped_exp(std::accumulate(log_w.begin(), log_w.end(), 0.0)); }
double kept(double w, double floor, double cap) { return w >= floor && w <= cap ? w : 0; }

void token_tis(std::span<const double> log_w, double floor, double cap, std::span<double> out) {
  for (std::size_t t = 0; t < out.size(); ++t) out[t] = std::clamp(clamped_exp(log_w[t]), floor, cap);
}
void sequence_tis(std::span<const double> log_w, double floor, double cap, std::span<double> out) {
  std::fill(out.begin(), out.end(), std::clamp(product(log_w), floor, cap));
}
void token_mis(std::span<const double> log_w, double floor, double cap, std::span<double> out) {
  for (std::size_t t = 0; t < out.size(); ++t) out[t] = kept(clamped_exp(log_w[t]), floor, cap);
}
void sequence_mis(std::span<const double> log_w, double floor, double cap, std::span<double> out) {
  std::fill(out.begin(), out.end(), kept(product(log_w), floor, cap));
}
void geometric_mask(std::span<const double> log_w, double floor, double cap, std::span<double> out) {
  const double mean = std::accumulate(log_w.begin(), log_w.end(), 0.0) / static_cast<double>(log_w.size());
  std::fill(out.begin(), out.end(), kept(clamped_exp(mean), floor, cap) > 0 ? 1.0 : 0.0);
}
void k3_mask(std::span<const double> log_w, double, double cap, std::span<double> out) {
  double sum = 0;
  for (double x : log_w) sum += clamped_exp(x) - std::clamp(x, -kMaxLog, kMaxLog) - 1;
  std::fill(out.begin(), out.end(), sum / static_cast<double>(log_w.size()) <= cap ? 1.0 : 0.0);
}

constexpr std::array<MismatchMethod, 7> kMethods = {{
    {"none", MismatchUnit::kToken, 0, 0, false, nullptr},
    {"token_tis", MismatchUnit::kToken, 0, 2, true, token_tis},
    {"sequence_tis", MismatchUnit::kAnswer, 0, 2, true, sequence_tis},
    {"token_mis", MismatchUnit::kToken, 0.5, 2, true, token_mis},
    {"sequence_mis", MismatchUnit::kAnswer, 0, 2, true, sequence_mis},
    {"geometric_mask", MismatchUnit::kAnswer, 0.999, 1.001, true, geometric_mask},
    {"k3_mask", MismatchUnit::kAnswer, 0, 0.005, false, k3_mask},
}};

}  // namespace

std::span<const MismatchMethod> mismatch_methods() { return kMethods; }

const MismatchMethod& find_mismatch_method(std::string_view name) {
  std::string known;
  for (const MismatchMethod& m : kMethods) {
    if (m.name == name) return m;
    known += (known.empty() ? "" : ", ") + std::string(m.name);
  }
  throw ConfigError(message("rl.mismatch.correction is \"", name, "\"; it can be ", known));
}

MismatchOptions::MismatchOptions(std::string_view name)
    : method(&find_mismatch_method(name)), floor(method->floor), cap(method->cap) {}

void MismatchMean::add(std::span<const double> log_w, const MismatchOptions& o) {
  if (!o.method->weigh || log_w.empty()) return;
  std::vector<double> weights(log_w.size());
  o.method->weigh(log_w, o.floor, o.cap, weights);
  ++answers_;
  tokens_ += static_cast<std::int64_t>(weights.size());
  sum_ += o.method->unit == MismatchUnit::kAnswer ? weights[0] : std::accumulate(weights.begin(), weights.end(), 0.0);
}

double MismatchMean::mean(const MismatchOptions& o) const {
  const std::int64_t n = o.method->unit == MismatchUnit::kAnswer ? answers_ : tokens_;
  return sum_ > 0 ? sum_ / static_cast<double>(n) : 1;
}

}  // namespace r1
