#include "rl/token_selection.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "core/rng.h"

namespace r1 {
namespace {

double mean(std::span<const float> x) { return std::accumulate(x.begin(), x.end(), 0.0) / static_cast<double>(x.size()); }

double quantile(std::span<const float> values, double q) {
  std::vector<float> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  const double at = q * static_cast<double>(sorted.size() - 1), whole = std::floor(at);
  const auto i = static_cast<std::size_t>(whole);
  if (i + 1 >= sorted.size()) return sorted.back();
  return sorted[i] + (at - whole) * (double{sorted[i + 1]} - sorted[i]);
}

std::vector<double> covariances(const UpdateTokens& t) {
  const double p = mean(t.logprobs), a = mean(t.advantages);
  std::vector<double> out(t.logprobs.size());
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = (t.logprobs[i] - p) * (t.advantages[i] - a);
  return out;
}

// The chosen tokens' indices.
std::vector<std::size_t> choose(const UpdateTokens& t, const TokenSelectionOptions& o, std::uint64_t seed, std::uint64_t update) {
  const std::vector<double> cov = covariances(t);
  const auto share = static_cast<std::size_t>(static_cast<double>(cov.size()) * o.covariance_share);
  const std::size_t wanted = std::max<std::size_t>(1, share);
  std::vector<std::size_t> list;
  if (o.covariance == CovarianceControl::kKlCov) {
    list.resize(cov.size());
    std::iota(list.begin(), list.end(), 0);
    std::stable_sort(list.begin(), list.end(), [&](std::size_t x, std::size_t y) { return cov[x] > cov[y]; });
  } else {
    for (std::size_t i = 0; i < cov.size(); ++i)
      if (cov[i] > o.covariance_low && cov[i] < o.covariance_high && (t.clipped.empty() || !t.clipped[i])) list.push_back(i);
    StreamRng rng(seed, update);
    for (std::size_t i = 0; i < std::min(wanted, list.size()); ++i) std::swap(list[i], list[i + rng.below(list.size() - i)]);
  }
  list.resize(std::min(wanted, list.size()));
  return list;
}

}  // namespace

CovarianceControl parse_covariance_control(std::string_view name) {
  if (name == "none") return CovarianceControl::kNone;
  if (name == "clip_cov") return CovarianceControl::kClipCov;
  if (name == "kl_cov") return CovarianceControl::kKlCov;
  throw ConfigError(message("rl.covariance.method is \"", name, "\"; it can be none, clip_cov, kl_cov"));
}

TokenSelection select_tokens(const UpdateTokens& t, const TokenSelectionOptions& o, std::uint64_t seed, std::uint64_t update) {
  const std::size_t n = t.logprobs.size();
  R1_CHECK(t.advantages.size() == n && (t.clipped.empty() || t.clipped.size() == n) &&
               (o.top_entropy_quantile == 1 || t.entropies.size() == n),
           "token selection among ", n, " tokens got vectors of other lengths");
  TokenSelection out;
  if (n == 0) return out;
  if (o.top_entropy_quantile < 1) {
    const double threshold = quantile(t.entropies, 1 - o.top_entropy_quantile);
    out.policy_weights.assign(n, 1.f);
    for (std::size_t i = 0; i < n; ++i)
      if (t.entropies[i] < threshold) out.policy_weights[i] = 0, ++out.low_entropy;
  }
  if (o.covariance == CovarianceControl::kNone) return out;
  const std::vector<std::size_t> chosen = choose(t, o, seed, update);
  out.covariance = static_cast<std::int64_t>(chosen.size());
  if (o.covariance == CovarianceControl::kKlCov) {
    out.drift_penalties.assign(n, 0.f);
    for (std::size_t i : chosen) out.drift_penalties[i] = static_cast<float>(o.covariance_penalty);
  } else {
    if (out.policy_weights.empty()) out.policy_weights.assign(n, 1.f);
    for (std::size_t i : chosen) out.policy_weights[i] = 0;
  }
  return out;
}

}  // namespace r1
