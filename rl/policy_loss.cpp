#include "rl/policy_loss.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"

namespace r1 {
namespace {

constexpr double kMaxLogRatio = 20, kMaxK3 = 10;

// A clamp that has no slope outside.
double clamped(double x) { return std::clamp(x, -kMaxLogRatio, kMaxLogRatio); }
bool within(double x) { return std::abs(x) <= kMaxLogRatio; }
double mean(const std::vector<double>& x) { return std::accumulate(x.begin(), x.end(), 0.0) / static_cast<double>(x.size()); }

struct Kl { double value, slope; };

Kl kl_term(double d, KlEstimator estimator) {
  const double k3 = std::exp(clamped(-d)) - clamped(-d) - 1;
  switch (estimator) {
    case KlEstimator::kK1: return {d, 1};
    case KlEstimator::kK2: return {d * d / 2, d};
    case KlEstimator::kK3: return {std::min(k3, kMaxK3), within(d) && k3 <= kMaxK3 ? 1 - std::exp(-d) : 0};
    case KlEstimator::kK3Plus: return {std::min(k3, kMaxK3), d};
  }
  return {};
}

// One answer's numbers in float64; the vectors are [T].
struct Answer {
  std::vector<double> logprobs, log_ratio, advantages, weights, value, gradient;
  std::vector<std::uint8_t> clipped_low, clipped_high;
};

std::vector<double> part(std::span<const float> all, std::size_t begin, std::size_t n) {
  const auto piece = all.subspan(begin, n);
  return {piece.begin(), piece.end()};
}

// Fills value, gradient and flags: the surrogate, and for a function of a token the chain rule through its ratio.
void apply_surrogate(const PolicyLossOptions& o, Answer& a) {
  const Surrogate& s = o.surrogate.entry();
  const std::size_t n = a.logprobs.size();
  a.value.assign(n, 0), a.gradient.assign(n, 0), a.clipped_low.assign(n, 0), a.clipped_high.assign(n, 0);
  if (s.answer) {
    AnswerTerms terms{a.value, a.gradient, a.clipped_low, a.clipped_high};
    s.answer({a.logprobs, a.log_ratio, a.advantages, a.weights}, o.surrogate.values(), terms);
    return;
  }
  const double log_mean = o.ratio_level == RatioLevel::kToken ? 0 : mean(a.log_ratio);
  double d_mean = 0;  // of the answer's one ratio
  for (std::size_t t = 0; t < n; ++t) {
    const double log_rho = o.ratio_level == RatioLevel::kToken ? a.log_ratio[t] : log_mean;
    const double rho = std::exp(clamped(log_rho));
    const SurrogateTerm term = s.token(rho, a.advantages[t], a.logprobs[t], o.surrogate.values());
    a.value[t] = term.value;
    a.clipped_low[t] = term.clipped_low;
    a.clipped_high[t] = term.clipped_high;
    const double through_ratio = a.weights[t] * term.d_ratio * rho;
    a.gradient[t] = a.weights[t] * term.d_logprob;
    // sequence_token: the ratio's level is a constant, its slope that of pi / sg[pi].
    if (o.ratio_level == RatioLevel::kSequence) d_mean += within(log_rho) ? through_ratio : 0;
    else if (o.ratio_level == RatioLevel::kSequenceToken || within(log_rho)) a.gradient[t] += through_ratio;
  }
  if (o.ratio_level == RatioLevel::kSequence)
    for (double& g : a.gradient) g += d_mean / static_cast<double>(n);
}

void check(const LossInput& in, const PolicyLossOptions& o) {
  const std::size_t n = in.logprobs.size();
  const auto fits = [&](std::size_t size, bool may_be_empty) { return size == n || (may_be_empty && size == 0); };
  R1_CHECK(fits(in.advantages.size(), false) && fits(in.answer.size(), false) && fits(in.old_logprobs.size(), true) &&
               fits(in.behavior_logprobs.size(), true) && fits(in.ref_logprobs.size(), o.kl_coefficient == 0) &&
               fits(in.entropies.size(), o.entropy_coefficient == 0) && fits(in.policy_weights.size(), true) &&
               fits(in.drift_penalties.size(), true),
           "the loss of ", n, " tokens got vectors of other lengths");
  std::size_t at = 0;
  for (std::size_t a = 0; a < in.answer_tokens.size(); ++a)
    for (std::int64_t t = 0; t < in.answer_tokens[a]; ++t, ++at)
      R1_CHECK(at < n && in.answer[at] == static_cast<std::int64_t>(a), "token ", at, " of the loss is not of answer ", a);
  R1_CHECK(at == n, "the loss got ", n, " tokens, its answers have ", at);
}

// sg[...]: true if the mask of DeepSeek-V3.2 drops the answer's tokens with a negative advantage.
bool is_off_policy(const LossInput& in, std::size_t begin, std::size_t n, double threshold) {
  if (threshold <= 0) return false;
  const std::span<const float> from = in.behavior_logprobs.empty() ? in.old_logprobs : in.behavior_logprobs;
  if (from.empty()) return false;
  double sum = 0;
  for (std::size_t i = begin; i < begin + n; ++i) sum += double{from[i]} - in.logprobs[i];
  return sum / static_cast<double>(n) > threshold;
}

}  // namespace

double aggregation_weight(Aggregation aggregation, const LossDenominator& d, std::int64_t answer_tokens) {
  const auto b = static_cast<double>(d.sequences);
  switch (aggregation) {
    case Aggregation::kSeqMeanTokenMean: return 1 / (b * static_cast<double>(answer_tokens));
    case Aggregation::kTokenMean: return 1 / static_cast<double>(d.tokens);
    case Aggregation::kSeqMeanTokenSumNorm:
      R1_CHECK(d.length_budget > 0, "seq_mean_token_sum_norm needs a length budget");
      return 1 / (b * static_cast<double>(d.length_budget));
    case Aggregation::kSeqMeanTokenSum: return 1 / b;
  }
  return 0;
}

LossOutput policy_loss(const LossInput& in, const LossDenominator& denominator, const PolicyLossOptions& o) {
  check(in, o);
  LossOutput out;
  const std::size_t tokens = in.logprobs.size();
  out.d_logprobs.resize(tokens);
  out.clipped_low.resize(tokens);
  out.clipped_high.resize(tokens);
  if (o.kl_coefficient != 0) out.kl.resize(tokens);
  std::size_t begin = 0;
  for (const std::int64_t length : in.answer_tokens) {
    const auto n = static_cast<std::size_t>(length);
    if (n == 0) continue;
    const double share = aggregation_weight(o.aggregation, denominator, length);
    Answer a;
    a.logprobs = part(in.logprobs, begin, n);
    a.advantages = part(in.advantages, begin, n);
    const std::vector<double> old = in.old_logprobs.empty() ? a.logprobs : part(in.old_logprobs, begin, n);
    a.log_ratio.resize(n);
    for (std::size_t t = 0; t < n; ++t) a.log_ratio[t] = a.logprobs[t] - old[t];

    a.weights.assign(n, share);
    if (o.mismatch.method->weigh && !in.behavior_logprobs.empty()) {
      std::vector<double> log_w(n), w(n);
      for (std::size_t t = 0; t < n; ++t) log_w[t] = old[t] - in.behavior_logprobs[begin + t];
      o.mismatch.method->weigh(log_w, o.mismatch.floor, o.mismatch.cap, w);
      for (std::size_t t = 0; t < n; ++t) a.weights[t] *= w[t] / denominator.mismatch_mean;
    }
    bool masked = false;
    if (is_off_policy(in, begin, n, o.off_policy_mask_threshold))
      for (std::size_t t = 0; t < n; ++t)
        if (a.advantages[t] < 0) a.weights[t] = 0, masked = true;
    out.masked_answers += masked;
    if (!in.policy_weights.empty())
      for (std::size_t t = 0; t < n; ++t) a.weights[t] *= in.policy_weights[begin + t];
    apply_surrogate(o, a);

    for (std::size_t t = 0; t < n; ++t) {
      const std::size_t i = begin + t;
      double slope = -a.gradient[t];
      out.loss -= a.weights[t] * a.value[t];
      if (!in.drift_penalties.empty()) {
        const double c = a.weights[t] * in.drift_penalties[i], x = a.log_ratio[t];
        out.loss += c * std::abs(x);
        slope += c * (x > 0 ? 1 : x < 0 ? -1 : 0);
      }
      if (o.kl_coefficient != 0) {
        Kl kl = kl_term(a.logprobs[t] - in.ref_logprobs[i], o.kl_estimator);
        if (o.kl_off_policy) {
          const double rho = std::exp(clamped(a.log_ratio[t]));
          kl = {rho * kl.value, rho * (kl.slope + (within(a.log_ratio[t]) ? kl.value : 0))};
        }
        out.kl[i] = static_cast<float>(kl.value);
        out.loss += share * o.kl_coefficient * kl.value;
        slope += share * o.kl_coefficient * kl.slope;
      }
      out.d_logprobs[i] = static_cast<float>(slope);
      out.clipped_low[i] = a.clipped_low[t];
      out.clipped_high[i] = a.clipped_high[t];
    }
    begin += n;
  }
  if (o.entropy_coefficient != 0) {
    const double c = o.entropy_coefficient / static_cast<double>(denominator.tokens);
    for (float h : in.entropies) out.loss -= c * h;
    out.d_entropies.assign(tokens, static_cast<float>(-c));
  }
  return out;
}

}  // namespace r1
