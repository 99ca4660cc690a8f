// What a configuration tells of a model before any weight is read: for `r1 inspect`.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "model/model_config.h"

namespace r1 {

// Bytes a parameter: what training all of them holds (bfloat16 weights, float32 master, gradient and two moments).
inline constexpr std::int64_t kSampleBytesPerParameter = 2, kTrainBytesPerParameter = 2 + 4 * 4;

// Lines of (name, value) for people: family, shape, attention, experts, parameters, cache, memory. Sizes are of bfloat16 weights and
// cache; activations are not in them.
std::vector<std::pair<std::string, std::string>> model_summary(const ModelConfig& config);

}  // namespace r1
