// The distribution over the vocabulary: statistics and gradients of one row, shared by sampler and learner.
#include "kernels/vocab.h"

#include <cmath>

#include "core/error.h"
#include "kernels/table.h"

namespace r1::cpu {

float inverse_temperature(float temperature) {
  R1_CHECK(temperature > 0.f && std::isfinite(temperature), "temperature ", temperature, " must be positive and finite");
  return 1.f / temperature;
}

RowStats row_stats_with_sums(const float* logits, std::int64_t v, float temperature, bool want_entropy, double* chunk_sums) {
  const Table& t = table();
  const float inv_t = inverse_temperature(temperature);
  RowStats out;
  out.max = t.row_max(logits, v) * inv_t;
  double sum = 0.0, weighted = 0.0;
  for (std::int64_t i = 0; i < v; i += kVocabChunk) {
    const std::int64_t n = v - i < kVocabChunk ? v - i : kVocabChunk;
    double w = 0.0;
    const double s = t.exp_sum(logits + i, n, inv_t, out.max, want_entropy ? &w : nullptr);
    if (chunk_sums != nullptr) chunk_sums[i / kVocabChunk] = s;
    sum += s;
    weighted += w;
  }
  const double log_sum = std::log(sum);
  out.logsumexp = static_cast<float>(static_cast<double>(out.max) + log_sum);
  if (want_entropy) out.entropy = static_cast<float>(std::fmax(log_sum - weighted / sum, 0.0));
  if (sum != sum) out.logsumexp = out.entropy = static_cast<float>(sum);
  return out;
}

RowStats row_stats(const float* logits, std::int64_t v, float temperature, bool want_entropy) {
  return row_stats_with_sums(logits, v, temperature, want_entropy, nullptr);
}

float row_logprob(const float* logits, const RowStats& stats, std::int64_t target, float temperature) {
  return logits[target] * inverse_temperature(temperature) - stats.logsumexp;
}

void row_logprob_backward(const float* logits, std::int64_t v, const RowStats& stats, std::int64_t target, float temperature, float c1,
                          float c2, void* d_logits, Type type) {
  table().row_logprob_backward(logits, v, inverse_temperature(temperature), stats.logsumexp, stats.entropy, target, c1, c2, d_logits, type);
}

}  // namespace r1::cpu
