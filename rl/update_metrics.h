// Sums over the micro-batches of one update, turned into metrics at its end. Torch-free; sums in float64.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "rl/policy_loss.h"

namespace r1 {

// How far the learner's log-probabilities (ln p) are from the sampler's (ln q) on the tokens drawn from q.
class MismatchStats {
 public:
  // One answer's tokens must come in one call.
  void add_answer(std::span<const float> log_p, std::span<const float> log_q);
  std::int64_t tokens() const { return tokens_; }
  // mismatch/: mean_abs_logp, max_abs_logp, max_abs_p, kl = mean(w - ln w - 1) with w = p/q, chi2 = mean(w^2) - 1,
  // ess = (sum w)^2 / (n sum w^2), answers_over_1 (share of answers with any |ln p - ln q| > 1), pearson of p and q.
  void report(std::map<std::string, double>& metrics) const;
  void merge(const MismatchStats& other);

 private:
  std::int64_t tokens_ = 0, answers_ = 0, answers_over_1_ = 0;
  double sum_abs_ = 0, max_abs_ = 0, max_abs_p_ = 0, sum_k3_ = 0, sum_w_ = 0, sum_w2_ = 0;
  double sum_p_ = 0, sum_q_ = 0, sum_pp_ = 0, sum_qq_ = 0, sum_pq_ = 0;
};

class UpdateMetrics {
 public:
  void add(const LossInput& in, const LossOutput& out);
  void add_entropies(std::span<const float> entropies);
  MismatchStats& mismatch() { return mismatch_; }
  // loss, kl, entropy, clip_ratio/{low_mean,high_mean,region_mean}, ratio/{mean,max}, policy_drift (k3 of old to
  // new), mismatch/...: means over the trained tokens that were run; off_policy_masked: the share of answers so masked, if any.
  void report(std::map<std::string, double>& metrics) const;
  void merge(const UpdateMetrics& other);  // of other micro-batches

 private:
  std::int64_t answers_ = 0, masked_answers_ = 0;
  std::int64_t tokens_ = 0, kl_tokens_ = 0, entropy_tokens_ = 0, clipped_low_ = 0, clipped_high_ = 0;
  double loss_ = 0, kl_ = 0, entropy_ = 0, ratio_ = 0, max_ratio_ = 0, drift_ = 0;
  MismatchStats mismatch_;
};

}  // namespace r1
