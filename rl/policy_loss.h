// The policy-gradient objectives: clipped ratio, KL to a reference, aggregation, mismatch correction. Pure functions of
// [N] vectors; torch supplies the derivative, and the model's backward pass takes it from there (docs/decisions/0007).
// Formulas: GRPO arXiv:2402.03300; DAPO 2503.14476; Dr. GRPO 2503.20783; GSPO 2507.18071; CISPO 2506.13585.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace r1 {

// rho = ratio of the policy to the old policy, A = advantage; the terms below are maximised.
enum class Surrogate : std::uint8_t {
  kClip,   // min(rho A, clip(rho, 1 - clip_low, 1 + clip_high) A), then dual_clip
  kCispo,  // sg[min(rho, cispo_ratio_cap)] A ln pi: every token keeps a gradient
  kRatio,  // rho A, never clipped: REINFORCE and RLOO
};
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
// Weight of a token's policy term, from w = old policy / sampler, a constant in the backward pass.
enum class MismatchCorrection : std::uint8_t {
  kNone,
  kTokenTis,     // clip(w_t, floor, cap)
  kSequenceTis,  // clip(prod_t w_t, floor, cap)
  kTokenMis,     // w_t if floor <= w_t <= cap, else 0 (IcePop, arXiv:2510.18855)
  kSequenceMis,  // prod_t w_t if within [floor, cap], else 0
};
// Recipe names; the parsers throw ConfigError naming the key and what it can be.
Surrogate parse_surrogate(std::string_view);              // clip, cispo, ratio
RatioLevel parse_ratio_level(std::string_view);           // token, sequence, sequence_token
KlEstimator parse_kl_estimator(std::string_view);         // k1, k2, k3, k3+
Aggregation parse_aggregation(std::string_view);          // seq_mean_token_mean, token_mean, ...
MismatchCorrection parse_mismatch_correction(
    std::string_view);  // none, token_tis, sequence_tis, token_mis, sequence_mis

struct PolicyLossOptions {
  Surrogate surrogate = Surrogate::kClip;
  RatioLevel ratio_level = RatioLevel::kToken;
  double clip_low = 0.2, clip_high = 0.2;  // R1 publishes 10: then the lower side never acts
  double dual_clip = 0;         // c > 1: for A < 0 the loss is at most -c A (arXiv:1912.09729); 0 = off
  double cispo_ratio_cap = 5;
  Aggregation aggregation = Aggregation::kTokenMean;
  double kl_coefficient = 0;    // 0 = no reference model
  KlEstimator kl_estimator = KlEstimator::kK3;
  bool kl_off_policy = false;   // multiply by rho_t, gradient through it: unbiased for KL(pi || ref) off-policy too
  double entropy_coefficient = 0;  // bonus on the token mean of the entropy
  MismatchCorrection mismatch = MismatchCorrection::kTokenTis;
  double mismatch_floor = 0, mismatch_cap = 2;
};

// Of the whole update, over all micro-batches (and ranks): so no gradient depends on the split.
struct LossDenominator {
  std::int64_t sequences = 0;  // B: answers with at least one trained token
  std::int64_t tokens = 0;     // trained tokens
  std::int64_t length_budget = 0;  // L: tokens an answer may have
};
// The factor of each trained token of an answer with `answer_tokens` of them.
double aggregation_weight(Aggregation, const LossDenominator&, std::int64_t answer_tokens);

// The trained tokens of one micro-batch; all spans [N] but answer_tokens [answers]. Answers are never split.
struct LossInput {
  std::span<const float> logprobs;       // nats under the policy, to be differentiated
  std::span<const float> entropies;      // nats; may be empty if entropy_coefficient is 0
  std::span<const float> old_logprobs;   // empty: the policy itself, detached (first update of a rollout)
  std::span<const float> behavior_logprobs;  // empty: no mismatch weight
  std::span<const float> ref_logprobs;   // needed iff kl_coefficient != 0
  std::span<const float> advantages;
  std::span<const std::int64_t> answer;  // which answer the token is of: 0..answers-1
  std::span<const std::int64_t> answer_tokens;
};

struct LossOutput {
  double loss = 0;                    // this micro-batch's share of the update's loss
  std::vector<float> d_logprobs;      // [N]
  std::vector<float> d_entropies;     // [N], or empty
  // For the metrics, [N]:
  std::vector<float> kl;              // estimator's value; empty without a reference
  std::vector<std::uint8_t> clipped_low, clipped_high;  // outside the region on the side where the clip acts
};

// Arithmetic in float64. Log-ratios are clamped to [-20, 20] before the exponential. Needs no torch header to call.
LossOutput policy_loss(const LossInput& input, const LossDenominator& denominator, const PolicyLossOptions& options);

}  // namespace r1
