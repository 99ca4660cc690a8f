#include "rl/token_selection.h"

#include <doctest/doctest.h>

#include <numeric>
#include <set>

#include "core/error.h"
#include "core/rng.h"

namespace r1 {
namespace {

struct Many {
  explicit Many(std::size_t n) {
    StreamRng rng(4, 0);
    for (std::size_t i = 0; i < n; ++i) {
      logprobs.push_back(static_cast<float>(-3 * rng.uniform()));
      entropies.push_back(static_cast<float>(2 * rng.uniform()));
      advantages.push_back(static_cast<float>(4 * rng.uniform() - 2));
    }
  }
  UpdateTokens tokens() const { return {logprobs, entropies, advantages, clipped}; }
  std::vector<float> logprobs, entropies, advantages;
  std::vector<std::uint8_t> clipped;
};

std::set<std::size_t> zeros(const std::vector<float>& x) {
  std::set<std::size_t> out;
  for (std::size_t i = 0; i < x.size(); ++i)
    if (x[i] == 0) out.insert(i);
  return out;
}

TEST_CASE("the share of highest entropy keeps its policy term; ties stay") {
  const Many m(1000);
  TokenSelectionOptions o;
  CHECK_FALSE(o.active());
  o.top_entropy_quantile = 0.2;
  const TokenSelection s = select_tokens(m.tokens(), o, 0, 0);
  CHECK(s.low_entropy == 800);
  float highest_left_out = 0, lowest_kept = 9;
  for (std::size_t i = 0; i < 1000; ++i)
    if (s.policy_weights[i] == 0) highest_left_out = std::max(highest_left_out, m.entropies[i]);
    else lowest_kept = std::min(lowest_kept, m.entropies[i]);
  CHECK(highest_left_out < lowest_kept);
  Many same(10);
  std::fill(same.entropies.begin(), same.entropies.end(), 0.5f);
  CHECK(select_tokens(same.tokens(), o, 0, 0).low_entropy == 0);
}

TEST_CASE("Clip-Cov draws its share from the candidates alone, anew in each update, the same when done again") {
  Many m(5000);
  TokenSelectionOptions o;
  o.covariance = CovarianceControl::kClipCov;
  o.covariance_share = 0.01;
  o.covariance_low = 0.5, o.covariance_high = 2;
  const TokenSelection a = select_tokens(m.tokens(), o, 7, 1);
  CHECK(a.covariance == 50);
  CHECK(a.drift_penalties.empty());
  const double p = std::accumulate(m.logprobs.begin(), m.logprobs.end(), 0.0) / 5000;
  const double q = std::accumulate(m.advantages.begin(), m.advantages.end(), 0.0) / 5000;
  for (std::size_t i : zeros(a.policy_weights)) {
    const double cov = (m.logprobs[i] - p) * (m.advantages[i] - q);
    CHECK(cov > 0.5);
    CHECK(cov < 2);
  }
  CHECK(zeros(select_tokens(m.tokens(), o, 7, 1).policy_weights) == zeros(a.policy_weights));
  CHECK(zeros(select_tokens(m.tokens(), o, 7, 2).policy_weights) != zeros(a.policy_weights));
  m.clipped.assign(5000, 0);
  for (std::size_t i : zeros(a.policy_weights)) m.clipped[i] = 1;
  const auto others = zeros(select_tokens(m.tokens(), o, 7, 1).policy_weights);
  CHECK(others.size() == 50);
  for (std::size_t i : zeros(a.policy_weights)) CHECK_FALSE(others.contains(i));
  o.covariance_low = 100, o.covariance_high = 200;
  CHECK(select_tokens(m.tokens(), o, 7, 1).covariance == 0);
}

TEST_CASE("KL-Cov takes the largest covariances, at least one token") {
  const Many m(300);
  TokenSelectionOptions o;
  o.covariance = CovarianceControl::kKlCov;
  o.covariance_penalty = 0.7;
  const TokenSelection one = select_tokens(m.tokens(), o, 0, 0);  // 2e-4 of 300
  CHECK(one.covariance == 1);
  CHECK(one.policy_weights.empty());
  o.covariance_share = 0.1;
  const TokenSelection s = select_tokens(m.tokens(), o, 0, 0);
  CHECK(s.covariance == 30);
  for (float v : s.drift_penalties) CHECK((v == 0.f || v == 0.7f));
  CHECK_THROWS_AS(parse_covariance_control("cov"), ConfigError);
}

}  // namespace
}  // namespace r1
