// The policy-gradient objectives: a surrogate (rl/surrogates), KL to a reference, aggregation, mismatch correction. Pure functions
// of [N] vectors with their derivatives, which the model's backward pass takes from there (docs/decisions/0007).
// Formulas: GRPO arXiv:2402.03300; DAPO 2503.14476; Dr. GRPO 2503.20783; GSPO 2507.18071; masks: DeepSeek-V3.2 2512.02556.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "rl/mismatch.h"
#include "rl/surrogates/surrogate.h"

namespace r1 {

// rho = ratio of the policy to the old policy.
enum class RatioLevel : std::uint8_t {
  kToken,          // rho_t
  kSequence,       // GSPO: exp(mean_t ln rho_t), one for the answer
  kSequenceToken,  // GSPO-token: sg[sequence ratio] pi / sg[pi]
};
// d = ln pi - ln ref at the sampled token.
enum class KlEstimator : std::uint8_t {
  kK1,      // d
  kK2,      // d^2 / 2
  kK3,      // exp(-d) + d - 1; -d clamped to [-20,20], the value to [-10,10]
  kK3Plus,  // value of k3, gradient of k2
};
enum class Aggregation : std::uint8_t {
  kSeqMeanTokenMean,     // (1/B) sum_i (1/T_i) sum_t: GRPO
  kTokenMean,            // sum / sum_i T_i: DAPO
  kSeqMeanTokenSumNorm,  // (1/(B L)) sum, L = length budget: Dr. GRPO
  kSeqMeanTokenSum,      // (1/B) sum: REINFORCE, RLOO
};
// Recipe names; the parsers throw ConfigError naming the key and what it can be.
RatioLevel parse_ratio_level(std::string_view);           // token, sequence, sequence_token
KlEstimator parse_kl_estimator(std::string_view);         // k1, k2, k3, k3+
Aggregation parse_aggregation(std::string_view);          // seq_mean_token_mean, token_mean, ...

struct PolicyLossOptions {
  SurrogateChoice surrogate;
  RatioLevel ratio_level = RatioLevel::kToken;  // of surrogates that are functions of a token
  Aggregation aggregation = Aggregation::kTokenMean;
  double kl_coefficient = 0;    // 0 = no reference model
  KlEstimator kl_estimator = KlEstimator::kK3;
  bool kl_off_policy = false;   // multiply by rho_t, gradient through it: unbiased for KL(pi || ref) off-policy too
  double entropy_coefficient = 0;  // bonus on the token mean of the entropy
  MismatchOptions mismatch;
  // Off-policy sequence mask of DeepSeek-V3.2: an answer's tokens with A < 0 lose their policy term if
  // mean_t(ln sampler - ln pi) is above this; 0 = off. Without a sampler's log-probabilities: of the old policy.
  double off_policy_mask_threshold = 0;
};

// Of the whole update, over all micro-batches (and ranks): so no gradient depends on the split.
struct LossDenominator {
  std::int64_t sequences = 0;  // B: answers with at least one trained token
  std::int64_t tokens = 0;     // trained tokens
  std::int64_t length_budget = 0;  // L: tokens an answer may have
  double mismatch_mean = 1;    // with mismatch.normalize: what the weights are divided by
};
// The factor of each trained token of an answer with `answer_tokens` of them.
double aggregation_weight(Aggregation, const LossDenominator&, std::int64_t answer_tokens);

// The trained tokens of one micro-batch; all spans [N] but answer_tokens [answers]. Answers are never split, and the tokens of one
// stand together, in order.
struct LossInput {
  std::span<const float> logprobs;       // nats under the policy, to be differentiated
  std::span<const float> entropies;      // nats; may be empty if entropy_coefficient is 0
  std::span<const float> old_logprobs;   // empty: the policy itself, detached (first update of a rollout)
  std::span<const float> behavior_logprobs;  // empty: no mismatch weight
  std::span<const float> ref_logprobs;   // needed iff kl_coefficient != 0
  std::span<const float> advantages;
  std::span<const std::int64_t> answer;  // which answer the token is of: 0..answers-1
  std::span<const std::int64_t> answer_tokens;
  // Chosen over the whole update (rl/token_selection.h); empty = 1 and 0 everywhere.
  std::span<const float> policy_weights = {};   // of the policy terms: 0 leaves a token out
  std::span<const float> drift_penalties = {};  // coefficient of |ln pi - ln old|, added to the loss
};

struct LossOutput {
  double loss = 0;                    // this micro-batch's share of the update's loss
  std::vector<float> d_logprobs;      // [N]
  std::vector<float> d_entropies;     // [N], or empty
  // For the metrics, [N]:
  std::vector<float> kl;              // estimator's value; empty without a reference
  std::vector<std::uint8_t> clipped_low, clipped_high;  // outside the region on the side where the clip acts
  std::int64_t masked_answers = 0;    // by off_policy_mask_threshold: answers that lost a policy term
};

// Arithmetic in float64. Log-ratios are clamped to [-20, 20] before the exponential.
LossOutput policy_loss(const LossInput& input, const LossDenominator& denominator, const PolicyLossOptions& options);

}  // namespace r1
