// Private to kernels/: what the sampler needs of the row statistics beyond cpu.h.
#pragma once

#include "kernels/cpu.h"

namespace r1::cpu {

// 1 / temperature; a temperature that is not positive and finite is a bug of the caller.
float inverse_temperature(float temperature);

// row_stats(), also giving the sum of exp(z - max) of every kVocabChunk logits (null = not wanted).
RowStats row_stats_with_sums(const float* logits, std::int64_t v, float temperature, bool want_entropy, double* chunk_sums);

}  // namespace r1::cpu
