// Divergences between a teacher P and a student Q over the vocabulary, a row at a time, and their gradients in the student's logits:
// the formulas of distill/kd_loss.h in float32. Conventions as in gpu.h: a row's bits depend on the row alone.
#pragma once

#include "kernels/gpu/gpu.h"

namespace r1::gpu {

// Q = softmax(logits / temperature); P at the same temperature. beta 0: KL(P || Q); 1: KL(Q || P); between them
// beta KL(P || M) + (1 - beta) KL(Q || M), M = beta P + (1 - beta) Q.
struct DivergenceArgs {
  const float* logits = nullptr;  // [n][ld], the first v take part; ld a multiple of 4
  std::int64_t ld = 0, v = 0;
  float temperature = 1.f;        // above 0
  float beta = 0.f;               // in [0, 1]
  float weight = 1.f;             // of the gradient alone
};

// loss [n]: the divergence times temperature^2, nats; not finite where a logit is NaN, or where Q (P) has nothing of what P (Q) has.
// d [n][ld_d] bf16, or null: weight * d loss / d logits, 0 for v <= j < ld_d; ld_d a multiple of 8. teacher: logits [n][ld_teacher].
void divergence_rows(Stream s, const DivergenceArgs& args, const float* teacher, std::int64_t ld_teacher, std::int64_t n, float* loss,
                     bf16* d, std::int64_t ld_d);

// What was stored of P: its k likeliest tokens, each once, and the mass of all others as one outcome. Device arrays.
struct TopKRows {
  const std::int32_t* ids = nullptr;  // [n][k]
  const float* logprobs = nullptr;    // [n][k] nats, at the temperature
  const float* tails = nullptr;       // [n] ln of the rest's mass; taken as at least ln 1e-12. Plays no part where k = v
  std::int64_t k = 0;
};
// The same over the k + 1 outcomes. An id outside [0, v) makes the row's loss NaN. v is at most kMaxTopKIds.
inline constexpr std::int64_t kMaxTopKIds = 48 * 1024 * 8 - 8192;
void divergence_rows_top_k(Stream s, const DivergenceArgs& args, const TopKRows& teacher, std::int64_t n, float* loss, bf16* d,
                           std::int64_t ld_d);

}  // namespace r1::gpu
