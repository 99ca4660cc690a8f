// Losses of reward models and of DPO, and their gradients: pure functions of [P] vectors in float64. P pairs (or labelled answers) are one
// micro-batch of an update; `update_size` is the number in the whole update, so that the sum over its micro-batches is a mean.
// Sources: Bradley-Terry, centring arXiv:2312.09244; DPO arXiv:2305.18290; label smoothing: cDPO (Mitchell 2023); IPO arXiv:2310.12036.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace r1 {

double log_sigmoid(double x);  // without overflow
double sigmoid(double x);

struct PairLoss {
  double loss = 0;                                // this micro-batch's share of the update's mean
  std::vector<double> d_chosen, d_rejected;       // [P] gradient of the scores (or of the log-probability sums)
};

// -log sigmoid(s+ - s-) + centring (s+ + s-)^2, in the scores of the two answers.
PairLoss bradley_terry_loss(std::span<const double> chosen, std::span<const double> rejected, double centring, std::int64_t update_size);

struct PointLoss {
  double loss = 0;
  std::vector<double> d_scores;  // [P]
};
// Binary cross-entropy -[z log sigmoid(s) + (1 - z) log(1 - sigmoid(s))]; labels z in [0, 1].
PointLoss pointwise_loss(std::span<const double> scores, std::span<const double> labels, std::int64_t update_size);

enum class DpoLoss : std::uint8_t {
  kSigmoid,  // -(1 - e) log sigmoid(beta h) - e log sigmoid(-beta h), e = label smoothing
  kHinge,    // max(0, 1 - beta h)
  kIpo,      // (h - 1 / (2 beta))^2 with log-probabilities averaged over each answer's tokens
};
DpoLoss parse_dpo_loss(std::string_view name);  // sigmoid, hinge, ipo; throws ConfigError

struct DpoOptions {
  DpoLoss kind = DpoLoss::kSigmoid;
  double beta = 0.1;
  double label_smoothing = 0;  // kSigmoid only; below 0.5
};

// Of the two answers of each pair: sums of log-probabilities over the answer's tokens, nats, and the number of tokens.
struct DpoInput {
  std::span<const double> chosen, rejected;          // [P] under the policy
  std::span<const double> ref_chosen, ref_rejected;  // [P] under the reference
  std::span<const std::int64_t> chosen_tokens, rejected_tokens;  // [P] at least 1
};

struct DpoOutput : PairLoss {
  // The implicit rewards beta (log pi - log ref) of each answer, for the metrics; h is their difference / beta.
  std::vector<double> reward_chosen, reward_rejected;  // [P]
};
DpoOutput dpo_loss(const DpoInput& input, const DpoOptions& options, std::int64_t update_size);

}  // namespace r1
