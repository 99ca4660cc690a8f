// One float per token of each sample, and the form in which checkpoints hold them: all samples' tokens one after another, NaN for a
// sample whose values were not computed.
#pragma once

#include <span>
#include <vector>

#include "core/types.h"
#include "core/weights.h"
#include "rl/packing.h"

namespace r1 {

using PerSample = std::vector<std::vector<float>>;  // [sample][token]; empty where not computed

std::vector<float> at_tokens(const PerSample& values, std::span<const TokenRef> tokens);
std::vector<float> pack(const PerSample& values, std::span<const TrainSample> samples);
// Throws CheckpointError if `from` does not hold one float32 for each of the samples' tokens.
PerSample unpack(const TensorView& from, std::span<const TrainSample> samples);
TensorView float_view(const char* name, const std::vector<float>& values);

}  // namespace r1
