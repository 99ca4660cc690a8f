// Speeds of one model's shape on this machine's CPU, measured in about three seconds: the engine and the learner themselves, on a model of this
// shape with as few layers as the time and the memory allow and weights of zero. Nothing of the model is opened.
#pragma once

#include <optional>

#include "apps/stage_rates.h"

namespace r1 {

// None where even two layers are too large for a short look; then speeds_of() has to do.
std::optional<ModelSpeeds> probe_cpu(const ModelSize& model, DType dtype, const DeviceRates& rates);

}  // namespace r1
