// What the learner computes over a whole update: no gradient may depend on how it is split.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "rl/learner.h"
#include "rl/test_support.h"

namespace r1 {
namespace {

constexpr std::int32_t kVocab = 11;

ComputePool& pool() {
  static ComputePool p(1);
  return p;
}

GrpoOptions options() {
  GrpoOptions o;
  o.optimizer.learning_rate.peak = 0.05;
  o.updates_per_rollout = 2;
  o.seed = 3;
  return o;
}

void fill(TablePolicy& policy) {
  StreamRng rng(1, 3);
  for (float& v : policy.logits()) v = static_cast<float>(2 * rng.uniform() - 1);
}

struct Second {
  std::vector<float> gradient;
  std::map<std::string, double> metrics;
};

// The gradient of a rollout's second update, after one that moved the policy.
Second second_update(const GrpoOptions& o, const std::vector<TrainSample>& samples) {
  TablePolicy policy(kVocab, pool());
  fill(policy);
  GrpoLearner learner(policy, nullptr, o);
  learner.begin_rollout(samples, 0);
  learner.update();
  Second out;
  out.metrics = learner.update().metrics;
  out.gradient = policy.gradient();
  return out;
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double d = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) d += std::pow(double{a[i]} - b[i], 2), norm += std::pow(double{a[i]}, 2);
  return std::sqrt(d / norm);
}

}  // namespace

TEST_CASE("entropy, covariance and normalised weights: the same gradient under any micro-batch budget, and another one than without") {
  const auto samples = test::make_samples(8, 5, kVocab);
  const auto plain = second_update(options(), samples);
  for (const std::string what : {"entropy", "clip_cov", "kl_cov", "normalize", "geometric"}) {
    CAPTURE(what);
    GrpoOptions o = options();
    if (what == "entropy") o.selection.top_entropy_quantile = 0.3;
    if (what == "clip_cov") {
      o.selection.covariance = CovarianceControl::kClipCov;
      o.selection.covariance_share = 0.1, o.selection.covariance_low = 0, o.selection.covariance_high = 9;
    }
    if (what == "kl_cov") o.selection.covariance = CovarianceControl::kKlCov, o.selection.covariance_share = 0.2;
    if (what == "normalize") o.loss.mismatch.normalize = true;
    if (what == "geometric") {
      o.loss.mismatch = MismatchOptions("geometric_mask");
      o.loss.mismatch.floor = 0.5, o.loss.mismatch.cap = 1.5, o.loss.mismatch.normalize = true;
    }
    const Second whole = second_update(o, samples);
    CHECK(distance(whole.gradient, plain.gradient) > 1e-3);
    for (std::int64_t budget : {1, 25}) {
      o.tokens_per_micro_batch = budget;
      CHECK(distance(whole.gradient, second_update(o, samples).gradient) < 1e-5);
    }
    if (what == "entropy") CHECK(whole.metrics.at("selection/low_entropy") == doctest::Approx(0.7).epsilon(0.1));
    if (what == "kl_cov") CHECK(whole.metrics.at("selection/covariance") == doctest::Approx(0.2).epsilon(0.1));
  }
}

TEST_CASE("normalised weights have mean 1: equal weights are as none") {
  auto samples = test::make_samples(4, 4, kVocab);
  TablePolicy policy(kVocab, pool());
  fill(policy);
  for (TrainSample& s : samples)  // the learner finds every token e^0.3 times as likely as the sampler did
    for (std::size_t t = 1; t < s.tokens.size(); ++t)
      if (s.loss_mask[t])
        s.behavior_logprobs[t] = static_cast<float>(policy.log_distribution(s.tokens[t - 1], 1.f)[static_cast<std::size_t>(s.tokens[t])] - 0.3);
  GrpoOptions none = options(), normal = options();
  none.loss.mismatch = MismatchOptions("none");
  normal.loss.mismatch.normalize = true;
  CHECK(distance(second_update(none, samples).gradient, second_update(normal, samples).gradient) < 1e-5);
  CHECK(distance(second_update(none, samples).gradient, second_update(options(), samples).gradient) > 0.1);
}

TEST_CASE("the off-policy mask counts the answers it dropped") {
  auto samples = test::make_samples(4, 4, kVocab);
  GrpoOptions o = options();
  o.loss.off_policy_mask_threshold = 0.5;
  const Second masked = second_update(o, samples);
  CHECK(masked.metrics.at("off_policy_masked") > 0);
  CHECK(masked.metrics.at("off_policy_masked") < 1);
  CHECK(distance(masked.gradient, second_update(options(), samples).gradient) > 1e-3);
}

TEST_CASE("an adaptive entropy bonus: not before a measurement, then by the measured entropy") {
  GrpoOptions o = options();
  o.updates_per_rollout = 3;
  o.loss.entropy_coefficient = 0.01;
  o.adaptive_entropy = {true, 100, 0.005};
  TablePolicy policy(kVocab, pool());
  fill(policy);
  GrpoLearner learner(policy, nullptr, o);
  learner.begin_rollout(test::make_samples(6, 4, kVocab), 0);
  CHECK(learner.update().metrics.at("entropy_coefficient") == 0);
  CHECK(learner.update().metrics.at("entropy_coefficient") == doctest::Approx(0.015));
  CHECK(learner.update().metrics.at("entropy_coefficient") == doctest::Approx(0.02));
}

}  // namespace r1
