#include "rl/policy_loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "core/error.h"

namespace r1 {
namespace {

constexpr double kMaxLogRatio = 20, kMaxK3 = 10;

at::Tensor to_double(std::span<const float> values) {
  return at::from_blob(const_cast<float*>(values.data()), {static_cast<std::int64_t>(values.size())}, at::kFloat)
      .to(at::kDouble);
}
at::Tensor to_index(std::span<const std::int64_t> values) {
  return at::from_blob(const_cast<std::int64_t*>(values.data()), {static_cast<std::int64_t>(values.size())}, at::kLong);
}
at::Tensor clamped_exp(const at::Tensor& x) { return x.clamp(-kMaxLogRatio, kMaxLogRatio).exp(); }

// Sums over the tokens of an answer, in token order.
class Answers {
 public:
  explicit Answers(const LossInput& in)
      : index_(to_index(in.answer)), lengths_(to_index(in.answer_tokens).to(at::kDouble)) {}
  at::Tensor sums(const at::Tensor& x) const { return at::zeros_like(lengths_).index_add(0, index_, x); }
  at::Tensor means(const at::Tensor& x) const { return sums(x) / lengths_; }
  at::Tensor spread(const at::Tensor& per_answer) const { return per_answer.index_select(0, index_); }

 private:
  at::Tensor index_, lengths_;
};

at::Tensor ratio(const at::Tensor& log_ratio, const Answers& answers, RatioLevel level) {
  if (level == RatioLevel::kToken) return clamped_exp(log_ratio);
  if (level == RatioLevel::kSequence) return answers.spread(clamped_exp(answers.means(log_ratio)));
  const at::Tensor sequence = answers.spread(clamped_exp(answers.means(log_ratio))).detach();
  return sequence * (log_ratio - log_ratio.detach()).exp();
}

at::Tensor mismatch_weight(const at::Tensor& log_w, const Answers& answers, const PolicyLossOptions& o) {
  const bool sequence =
      o.mismatch == MismatchCorrection::kSequenceTis || o.mismatch == MismatchCorrection::kSequenceMis;
  const at::Tensor w = sequence ? answers.spread(clamped_exp(answers.sums(log_w))) : clamped_exp(log_w);
  if (o.mismatch == MismatchCorrection::kTokenTis || o.mismatch == MismatchCorrection::kSequenceTis)
    return w.clamp(o.mismatch_floor, o.mismatch_cap);
  return at::where(w.ge(o.mismatch_floor).logical_and(w.le(o.mismatch_cap)), w, at::zeros_like(w));
}

// The term to maximise.
at::Tensor surrogate(const at::Tensor& logprobs, const at::Tensor& rho, const at::Tensor& advantages,
                     const PolicyLossOptions& o) {
  if (o.surrogate == Surrogate::kRatio) return rho * advantages;
  if (o.surrogate == Surrogate::kCispo) return rho.clamp_max(o.cispo_ratio_cap).detach() * advantages * logprobs;
  const at::Tensor clipped = rho.clamp(1 - o.clip_low, 1 + o.clip_high) * advantages;
  const at::Tensor term = at::minimum(rho * advantages, clipped);
  if (o.dual_clip <= 0) return term;
  return at::where(advantages.lt(0), at::maximum(term, advantages * o.dual_clip), term);
}

at::Tensor kl_term(const at::Tensor& d, KlEstimator estimator) {
  const auto k3 = [&] {
    const at::Tensor minus = (-d).clamp(-kMaxLogRatio, kMaxLogRatio);
    return (minus.exp() - minus - 1).clamp(-kMaxK3, kMaxK3);
  };
  switch (estimator) {
    case KlEstimator::kK1: return d;
    case KlEstimator::kK2: return d * d / 2;
    case KlEstimator::kK3: return k3();
    case KlEstimator::kK3Plus: {
      const at::Tensor k2 = d * d / 2;
      return k2 + (k3() - k2).detach();
    }
  }
  return {};
}

std::vector<float> to_floats(const at::Tensor& x) {
  const at::Tensor f = x.detach().to(at::kFloat).contiguous();
  return {f.data_ptr<float>(), f.data_ptr<float>() + f.numel()};
}
std::vector<std::uint8_t> to_flags(const at::Tensor& x) {
  const at::Tensor f = x.to(at::kByte).contiguous();
  return {f.data_ptr<std::uint8_t>(), f.data_ptr<std::uint8_t>() + f.numel()};
}

void check(const LossInput& in, const PolicyLossOptions& o) {
  const std::size_t n = in.logprobs.size();
  const auto fits = [&](std::size_t size, bool may_be_empty) { return size == n || (may_be_empty && size == 0); };
  R1_CHECK(fits(in.advantages.size(), false) && fits(in.answer.size(), false) && fits(in.old_logprobs.size(), true) &&
               fits(in.behavior_logprobs.size(), true) && fits(in.ref_logprobs.size(), o.kl_coefficient == 0) &&
               fits(in.entropies.size(), o.entropy_coefficient == 0),
           "the loss of ", n, " tokens got vectors of other lengths");
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
  if (in.logprobs.empty()) return out;
  const Answers answers(in);
  at::Tensor logprobs = to_double(in.logprobs).requires_grad_(true);
  const at::Tensor advantages = to_double(in.advantages);
  const at::Tensor old = in.old_logprobs.empty() ? logprobs.detach() : to_double(in.old_logprobs);
  const at::Tensor log_ratio = logprobs - old;
  const at::Tensor rho = ratio(log_ratio, answers, o.ratio_level);

  at::Tensor loss_per_token = -surrogate(logprobs, rho, advantages, o);
  if (o.mismatch != MismatchCorrection::kNone && !in.behavior_logprobs.empty())
    loss_per_token = loss_per_token * mismatch_weight(old - to_double(in.behavior_logprobs), answers, o);
  if (o.kl_coefficient != 0) {
    at::Tensor kl = kl_term(logprobs - to_double(in.ref_logprobs), o.kl_estimator);
    if (o.kl_off_policy) kl = kl * clamped_exp(log_ratio);
    loss_per_token = loss_per_token + o.kl_coefficient * kl;
    out.kl = to_floats(kl);
  }

  at::Tensor weights = at::empty({static_cast<std::int64_t>(in.logprobs.size())}, at::kDouble);
  for (std::size_t i = 0; i < in.answer.size(); ++i)
    weights.data_ptr<double>()[i] = aggregation_weight(o.aggregation, denominator, in.answer_tokens[in.answer[i]]);
  at::Tensor loss = (loss_per_token * weights).sum();
  at::Tensor entropies;
  if (o.entropy_coefficient != 0) {
    entropies = to_double(in.entropies).requires_grad_(true);
    loss = loss - entropies.sum() * (o.entropy_coefficient / static_cast<double>(denominator.tokens));
  }
  loss.backward();

  out.loss = loss.item<double>();
  out.d_logprobs = to_floats(logprobs.grad());
  if (entropies.defined()) out.d_entropies = to_floats(entropies.grad());
  if (o.surrogate == Surrogate::kClip) {
    out.clipped_low = to_flags(rho.lt(1 - o.clip_low).logical_and(advantages.lt(0)));
    out.clipped_high = to_flags(rho.gt(1 + o.clip_high).logical_and(advantages.gt(0)));
  } else {
    out.clipped_low.assign(in.logprobs.size(), 0);
    out.clipped_high = o.surrogate == Surrogate::kCispo
                           ? to_flags(rho.gt(o.cispo_ratio_cap).logical_and(advantages.gt(0)))
                           : out.clipped_low;
  }
  return out;
}

}  // namespace r1
