// Divergences between a teacher P and a student Q over the vocabulary at one position, and their gradients in the student's logits: pure
// functions of rows; probabilities are the kernels' float32, sums are in float64. With q = softmax(z / t): a loss f has
// df/dz_v = (g_v - q_v sum g) / t, g_v = df/d ln q_v.
// Sources: Hinton et al. arXiv:1503.02531 (temperature, its square); GKD arXiv:2306.13649 (generalised JSD).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace r1 {

enum class Divergence : std::uint8_t {
  kForward,  // KL(P || Q): covers the teacher's modes
  kReverse,  // KL(Q || P): seeks one of them
  kJsd,      // beta KL(P || M) + (1 - beta) KL(Q || M), M = beta P + (1 - beta) Q; beta 0 is kForward and 1 kReverse, as in TRL
};
Divergence parse_divergence(std::string_view name);  // forward_kl, reverse_kl, jsd; throws ConfigError

struct KdOptions {
  Divergence divergence = Divergence::kForward;
  double beta = 0.5;         // kJsd
  double temperature = 1;    // of both
};

// The loss of a row times temperature^2, nats. `student` holds logits [V] and becomes weight * d(that)/d logits; `teacher` logits [V].
double kd_row(std::span<float> student, std::span<const float> teacher, const KdOptions& options, double weight);

// What is kept of a teacher's row: its K most probable tokens, by falling probability (ties: smaller id first), at the temperature,
// and the mass of all others together.
struct TopKRow {
  std::span<const std::int32_t> ids;     // [K]
  std::span<const float> logprobs;       // [K] nats
  float tail_logprob = 0;                // nats; -inf where K is the whole vocabulary
};
// Writes ids [K], logprobs [K] and gives the tail's ln of the mass. K <= logits.size().
float top_k_of(std::span<const float> logits, double temperature, std::span<std::int32_t> ids, std::span<float> logprobs);

// As kd_row() over K + 1 outcomes: the kept tokens, and all others as one. Equal to it where K is the vocabulary; less otherwise
// (joining outcomes never raises a divergence).
double kd_row_top_k(std::span<float> student, const TopKRow& teacher, const KdOptions& options, double weight);

}  // namespace r1
