// Batches and checks for the tests of losses; include after doctest.
#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "core/rng.h"
#include "rl/policy_loss.h"

namespace r1::test {

// Owns what a LossInput points to.
struct Tokens {
  std::vector<float> logprobs, entropies, old, behavior, ref, advantages, policy_weights, drift_penalties;
  std::vector<std::int64_t> answer, answer_tokens;

  LossInput input() const { return {logprobs, entropies, old, behavior, ref, advantages, answer, answer_tokens, policy_weights, drift_penalties}; }
  LossDenominator denominator(std::int64_t budget = 0) const {
    return {static_cast<std::int64_t>(answer_tokens.size()), static_cast<std::int64_t>(logprobs.size()), budget};
  }
};

// Random answers of the given lengths; `drift` is the size of |ln rho| and of the distance to reference and sampler.
inline Tokens make_tokens(const std::vector<std::int64_t>& lengths, double drift, std::uint64_t seed = 1) {
  StreamRng rng(seed, 0);
  Tokens t;
  t.answer_tokens = lengths;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    const float a = static_cast<float>(2 * rng.uniform() - 1);
    for (std::int64_t k = 0; k < lengths[i]; ++k) {
      const double lp = -0.1 - 2 * rng.uniform();
      const auto near = [&] { return static_cast<float>(lp + drift * (2 * rng.uniform() - 1)); };
      t.logprobs.push_back(static_cast<float>(lp));
      t.old.push_back(near());
      t.behavior.push_back(near());
      t.ref.push_back(near());
      t.entropies.push_back(static_cast<float>(rng.uniform()));
      t.advantages.push_back(a);
      t.answer.push_back(static_cast<std::int64_t>(i));
    }
  }
  return t;
}

inline PolicyLossOptions plain(Aggregation aggregation = Aggregation::kTokenMean) {
  PolicyLossOptions o;
  o.aggregation = aggregation;
  o.mismatch = MismatchOptions("none");
  return o;
}

// Central differences of the loss in logprob i, in float64 through a shifted copy. The old policy is given, so the
// difference sees the true function.
inline double slope(Tokens t, const PolicyLossOptions& o, std::size_t i, const LossDenominator& d) {
  const float h = 1.f / 512;
  const float x = t.logprobs[i];
  t.logprobs[i] = x + h;
  const double up = policy_loss(t.input(), d, o).loss;
  t.logprobs[i] = x - h;
  return (up - policy_loss(t.input(), d, o).loss) / ((x + h) - static_cast<double>(x - h));
}

// Gradients against slopes, token by token; and on policy (rho = 1) the gradient -A weight, whatever the surrogate.
inline void check_gradients(const PolicyLossOptions& o, double drift, std::uint64_t seed = 3) {
  const Tokens t = make_tokens({4, 2, 6, 1}, drift, seed);
  const LossOutput out = policy_loss(t.input(), t.denominator(10), o);
  for (std::size_t i = 0; i < t.logprobs.size(); ++i)
    CHECK(out.d_logprobs[i] == doctest::Approx(slope(t, o, i, t.denominator(10))).epsilon(5e-4));
  Tokens on = t;
  on.old = on.logprobs;
  const LossOutput start = policy_loss(on.input(), on.denominator(10), o);
  for (std::size_t i = 0; i < on.logprobs.size(); ++i) {
    const double w = aggregation_weight(o.aggregation, on.denominator(10), on.answer_tokens[static_cast<std::size_t>(on.answer[i])]);
    CHECK(start.d_logprobs[i] == doctest::Approx(-on.advantages[i] * w).epsilon(1e-6));
    CHECK(start.clipped_low[i] + start.clipped_high[i] == 0);
  }
}

// One token at a chosen ratio and advantage: value of the maximised term and its derivative.
struct Point { double value, slope; bool low, high; };
inline Point at_ratio(const SurrogateChoice& s, double rho, float advantage) {
  Tokens t;
  t.logprobs = {-1.f}, t.old = {static_cast<float>(-1 - std::log(rho))}, t.advantages = {advantage};
  t.answer = {0}, t.answer_tokens = {1};
  PolicyLossOptions o = plain();
  o.surrogate = s;
  const LossOutput out = policy_loss(t.input(), t.denominator(), o);
  return {-out.loss, -out.d_logprobs[0], out.clipped_low[0] != 0, out.clipped_high[0] != 0};
}

}  // namespace r1::test
