// What an update or the next rollout must know of all samples together, before or after the micro-batches.
#include <algorithm>

#include "core/error.h"
#include "rl/learner.h"
#include "rl/train_samples.h"

namespace r1 {
namespace {

// Calls visit(position) for each trained token of a sample.
template <class Visit>
void for_trained(const TrainSample& s, Visit&& visit) {
  for (std::size_t t = 0; t < s.tokens.size(); ++t)
    if (s.loss_mask[t]) visit(t);
}

// One value a trained token -> [sample][token].
PerSample scatter(std::span<const float> values, std::span<const TrainSample> samples, std::span<const std::int32_t> chosen) {
  PerSample out(samples.size());
  std::size_t k = 0;
  for (std::int32_t i : chosen) {
    out[i].assign(samples[i].tokens.size(), 0.f);
    for_trained(samples[i], [&](std::size_t t) { out[i][t] = values[k++]; });
  }
  return out;
}

}  // namespace

double GrpoLearner::mismatch_mean(std::span<const std::int32_t> chosen) const {
  MismatchMean mean;
  std::vector<double> log_w;
  for (std::int32_t i : chosen) {
    log_w.clear();
    for_trained(samples_[i], [&](std::size_t t) { log_w.push_back(double{old_[i][t]} - samples_[i].behavior_logprobs[t]); });
    mean.add(log_w, options_.loss.mismatch);
  }
  return mean.mean(options_.loss.mismatch);
}

void GrpoLearner::select(std::span<const std::int32_t> chosen, std::map<std::string, double>& metrics) {
  PerSample current(samples_.size()), entropies(samples_.size());
  evaluate_into(policy_, chosen, current, &entropies);
  std::vector<float> logprobs, h, advantages;
  for (std::int32_t i : chosen)
    for_trained(samples_[i], [&](std::size_t t) {
      logprobs.push_back(current[i][t]);
      h.push_back(entropies[i][t]);
      advantages.push_back(samples_[i].advantages[t]);
    });
  if (logprobs.empty()) return;
  std::vector<std::uint8_t> clipped;
  if (options_.selection.covariance == CovarianceControl::kClipCov) clipped = clipped_tokens(chosen, logprobs, advantages);
  const TokenSelection s = select_tokens({logprobs, h, advantages, clipped}, options_.selection, options_.seed, version());
  policy_weights_ = s.policy_weights.empty() ? PerSample{} : scatter(s.policy_weights, samples_, chosen);
  drift_penalties_ = s.drift_penalties.empty() ? PerSample{} : scatter(s.drift_penalties, samples_, chosen);
  const auto n = static_cast<double>(logprobs.size());
  metrics["selection/low_entropy"] = static_cast<double>(s.low_entropy) / n;
  metrics["selection/covariance"] = static_cast<double>(s.covariance) / n;
}

// Which tokens the surrogate's clip acts on: none while the policy is the old one.
std::vector<std::uint8_t> GrpoLearner::clipped_tokens(std::span<const std::int32_t> chosen, std::span<const float> logprobs,
                                                      std::span<const float> advantages) const {
  if (decoupled() && next_update_ == 0) return {};
  std::vector<float> old;
  std::vector<std::int64_t> answer, answer_tokens;
  for (std::int32_t i : chosen) {
    const std::int64_t n = trained_tokens(samples_[i]);
    if (n == 0) continue;
    answer.insert(answer.end(), static_cast<std::size_t>(n), static_cast<std::int64_t>(answer_tokens.size()));
    answer_tokens.push_back(n);
    for_trained(samples_[i], [&](std::size_t t) { old.push_back(decoupled() ? old_[i][t] : samples_[i].behavior_logprobs[t]); });
  }
  PolicyLossOptions o;
  o.surrogate = options_.loss.surrogate;
  o.ratio_level = options_.loss.ratio_level;
  LossInput in;
  in.logprobs = logprobs, in.old_logprobs = old, in.advantages = advantages, in.answer = answer, in.answer_tokens = answer_tokens;
  LossOutput out = policy_loss(in, {static_cast<std::int64_t>(answer_tokens.size()), static_cast<std::int64_t>(logprobs.size())}, o);
  for (std::size_t i = 0; i < out.clipped_low.size(); ++i) out.clipped_low[i] |= out.clipped_high[i];
  return std::move(out.clipped_low);
}

void GrpoLearner::end_rollout() {
  const auto answers = std::count_if(samples_.begin(), samples_.end(), [](const TrainSample& s) { return trained_tokens(s) > 0; });
  kl_in_reward_ = options_.adaptive_kl.next(kl_in_reward_, mean_kl_, static_cast<double>(answers));
}

}  // namespace r1
