#include "rl/update_metrics.h"

#include <algorithm>
#include <cmath>

namespace r1 {
namespace {
double clamped(double log_ratio) { return std::clamp(log_ratio, -20.0, 20.0); }
}  // namespace

void MismatchStats::add_answer(std::span<const float> log_p, std::span<const float> log_q) {
  bool over_1 = false;
  for (std::size_t i = 0; i < log_p.size(); ++i) {
    const double d = double{log_p[i]} - log_q[i], p = std::exp(double{log_p[i]}), q = std::exp(double{log_q[i]});
    const double w = std::exp(clamped(d));
    sum_abs_ += std::abs(d);
    max_abs_ = std::max(max_abs_, std::abs(d));
    max_abs_p_ = std::max(max_abs_p_, std::abs(p - q));
    sum_k3_ += w - clamped(d) - 1;
    sum_w_ += w;
    sum_w2_ += w * w;
    sum_p_ += p, sum_q_ += q, sum_pp_ += p * p, sum_qq_ += q * q, sum_pq_ += p * q;
    over_1 = over_1 || std::abs(d) > 1;
  }
  tokens_ += static_cast<std::int64_t>(log_p.size());
  answers_ += 1;
  answers_over_1_ += over_1;
}

void MismatchStats::report(std::map<std::string, double>& m) const {
  if (tokens_ == 0) return;
  const auto n = static_cast<double>(tokens_);
  m["mismatch/mean_abs_logp"] = sum_abs_ / n;
  m["mismatch/max_abs_logp"] = max_abs_;
  m["mismatch/max_abs_p"] = max_abs_p_;
  m["mismatch/kl"] = sum_k3_ / n;
  m["mismatch/chi2"] = sum_w2_ / n - 1;
  m["mismatch/ess"] = sum_w_ * sum_w_ / (n * sum_w2_);
  m["mismatch/answers_over_1"] = static_cast<double>(answers_over_1_) / static_cast<double>(answers_);
  const double var_p = sum_pp_ - sum_p_ * sum_p_ / n, var_q = sum_qq_ - sum_q_ * sum_q_ / n;
  if (var_p > 0 && var_q > 0) m["mismatch/pearson"] = (sum_pq_ - sum_p_ * sum_q_ / n) / std::sqrt(var_p * var_q);
}

void MismatchStats::merge(const MismatchStats& o) {
  tokens_ += o.tokens_, answers_ += o.answers_, answers_over_1_ += o.answers_over_1_;
  sum_abs_ += o.sum_abs_, sum_k3_ += o.sum_k3_, sum_w_ += o.sum_w_, sum_w2_ += o.sum_w2_;
  max_abs_ = std::max(max_abs_, o.max_abs_), max_abs_p_ = std::max(max_abs_p_, o.max_abs_p_);
  sum_p_ += o.sum_p_, sum_q_ += o.sum_q_, sum_pp_ += o.sum_pp_, sum_qq_ += o.sum_qq_, sum_pq_ += o.sum_pq_;
}

void UpdateMetrics::merge(const UpdateMetrics& o) {
  answers_ += o.answers_, masked_answers_ += o.masked_answers_, tokens_ += o.tokens_, kl_tokens_ += o.kl_tokens_;
  entropy_tokens_ += o.entropy_tokens_, clipped_low_ += o.clipped_low_, clipped_high_ += o.clipped_high_;
  loss_ += o.loss_, kl_ += o.kl_, entropy_ += o.entropy_, ratio_ += o.ratio_, drift_ += o.drift_;
  max_ratio_ = std::max(max_ratio_, o.max_ratio_);
  mismatch_.merge(o.mismatch_);
}

void UpdateMetrics::add(const LossInput& in, const LossOutput& out) {
  loss_ += out.loss;
  answers_ += static_cast<std::int64_t>(in.answer_tokens.size());
  masked_answers_ += out.masked_answers;
  tokens_ += static_cast<std::int64_t>(in.logprobs.size());
  for (std::size_t i = 0; i < in.logprobs.size(); ++i) {
    clipped_low_ += out.clipped_low[i];
    clipped_high_ += out.clipped_high[i];
    const double d = in.old_logprobs.empty() ? 0 : clamped(double{in.logprobs[i]} - in.old_logprobs[i]);
    ratio_ += std::exp(d);
    max_ratio_ = std::max(max_ratio_, std::exp(d));
    drift_ += std::exp(d) - d - 1;
  }
  for (float k : out.kl) kl_ += k;
  kl_tokens_ += static_cast<std::int64_t>(out.kl.size());
  add_entropies(in.entropies);
}

void UpdateMetrics::add_entropies(std::span<const float> entropies) {
  for (float h : entropies) entropy_ += h;
  entropy_tokens_ += static_cast<std::int64_t>(entropies.size());
}

void UpdateMetrics::report(std::map<std::string, double>& m) const {
  m["loss"] = loss_;
  if (tokens_ > 0) {
    const auto n = static_cast<double>(tokens_);
    m["clip_ratio/low_mean"] = static_cast<double>(clipped_low_) / n;
    m["clip_ratio/high_mean"] = static_cast<double>(clipped_high_) / n;
    m["clip_ratio/region_mean"] = static_cast<double>(clipped_low_ + clipped_high_) / n;
    m["ratio/mean"] = ratio_ / n;
    m["ratio/max"] = max_ratio_;
    m["policy_drift"] = drift_ / n;
  }
  if (masked_answers_ > 0) m["off_policy_masked"] = static_cast<double>(masked_answers_) / static_cast<double>(answers_);
  if (kl_tokens_ > 0) m["kl"] = kl_ / static_cast<double>(kl_tokens_);
  if (entropy_tokens_ > 0) m["entropy"] = entropy_ / static_cast<double>(entropy_tokens_);
  mismatch_.report(m);
}

}  // namespace r1
