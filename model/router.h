// The choice of experts for one token, its derivative, and the balance losses. Float32, one token at a time in one fixed order,
// so that rollout and learner choose alike. Equations: models.md section 5 and 6.2 (arXiv:2401.06066, 2405.04434, 2412.19437).
#pragma once

#include <cstdint>
#include <span>

#include "model/model_config.h"

namespace r1 {

// logits [E] become scores [E] in place (softmax or sigmoid). experts [K] in ascending order and their weights [K], which are differentiable
// in the logits while the choice is not. bias [E] or null takes part in the choice only. Ties go to the smaller number.
// replayed [K] or null: these experts instead of the choice (order does not matter). The result depends on this token alone.
void route_token(const MixtureOfExperts& moe, const float* bias, const std::uint16_t* replayed, float* logits_to_scores,
                 std::int32_t* experts, float* weights);

// d_logits [E] += the gradient of sum_k d_weights[k] weights[k].
void route_token_backward(const MixtureOfExperts& moe, const float* scores, const std::int32_t* experts, const float* d_weights,
                          float* d_logits);

// The balance loss of n tokens: sum_i f_i P_i with f_i = E / (K n) * times expert i was chosen, P_i = mean of its score, the scores
// of a sigmoid router scaled to sum 1. `scores` [n][E], `experts` [n][K]. Adds weight * d loss / d logits to d_logits [n][E] (null: only
// the value). Returns the loss, without the weight.
double balance_loss(const MixtureOfExperts& moe, const float* scores, const std::int32_t* experts, std::int64_t n, double weight, float* d_logits);

// DeepSeek-V3's balancing without a loss: bias_i += speed * sign(mean load - load_i).
void update_correction_bias(std::span<const std::int64_t> load, double speed, float* bias);

}  // namespace r1
