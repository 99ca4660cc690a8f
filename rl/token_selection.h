// Tokens chosen by statistics of a whole update: which keep their policy term, which are held back. Pure functions, torch-free.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace r1 {

// cov_t = (ln pi_t - mean)(A_t - mean) over the update's tokens (arXiv:2505.22617): large where training spends entropy.
enum class CovarianceControl : std::uint8_t {
  kNone,
  kClipCov,  // a random share of the tokens, among those with cov in (low, high), loses its policy term
  kKlCov,    // the share with the largest cov gets a penalty |ln pi - ln old|
};
CovarianceControl parse_covariance_control(std::string_view);  // none, clip_cov, kl_cov; throws ConfigError

struct TokenSelectionOptions {
  double top_entropy_quantile = 1;  // only this share of the tokens, those of highest entropy, has a policy term (arXiv:2506.01939); 1 = all
  CovarianceControl covariance = CovarianceControl::kNone;
  double covariance_share = 2e-4;   // of the trained tokens, at least one
  double covariance_low = 1, covariance_high = 5;  // of kClipCov
  double covariance_penalty = 1;    // of kKlCov

  bool active() const { return top_entropy_quantile < 1 || covariance != CovarianceControl::kNone; }
};

// The trained tokens of an update, [N] each.
struct UpdateTokens {
  std::span<const float> logprobs;    // nats, under the policy before the update
  std::span<const float> entropies;   // nats; needed iff top_entropy_quantile < 1
  std::span<const float> advantages;
  std::span<const std::uint8_t> clipped;  // 1 = the clip acts, so kClipCov does not waste its share there; empty = none
};

struct TokenSelection {
  std::vector<float> policy_weights, drift_penalties;  // [N], or empty where the options leave them alone; see LossInput
  std::int64_t low_entropy = 0, covariance = 0;        // tokens left out by their entropy; chosen by their covariance
};

// Draws of kClipCov come from (seed, update). The entropy threshold is the quantile with linear interpolation, as torch.quantile.
TokenSelection select_tokens(const UpdateTokens& tokens, const TokenSelectionOptions& options, std::uint64_t seed, std::uint64_t update);

}  // namespace r1
