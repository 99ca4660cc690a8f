// Training samples -> packed micro-batches without padding; a group's prompt is computed once per micro-batch.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/types.h"
#include "model/transformer.h"

namespace r1 {

// A trained token: entry `position` of sample `sample`.
struct TokenRef {
  std::int32_t sample = 0;
  std::int32_t position = 0;
};

struct MicroBatch {
  PackedBatch batch;
  std::vector<TokenRef> tokens;       // [M] what batch.targets[i] is
  std::vector<std::int32_t> samples;  // in packing order
};

// Which samples go together: a pure function of the samples, their order and the budget, so that a resumed run makes
// the same plan (docs/decisions/0007). `chosen` are indices into `samples`; samples of one group must be adjacent
// there. A micro-batch holds at most `token_budget` rows, unless a single sample has more. Groups stay whole where they
// fit; a larger group is split, its prompt repeated. Samples that train nothing are left out.
using MicroBatchPlan = std::vector<std::vector<std::int32_t>>;
MicroBatchPlan plan_micro_batches(std::span<const TrainSample> samples, std::span<const std::int32_t> chosen,
                                  std::int64_t token_budget);

// Rows stop at the last one that predicts a trained token. Throws Error if samples of one group differ in their prompt.
MicroBatch build_micro_batch(std::span<const TrainSample> samples, std::span<const std::int32_t> chosen);

}  // namespace r1
