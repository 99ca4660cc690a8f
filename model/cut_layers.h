// A shallower model from a deeper one: some of its layers, unchanged. The start of a small student; it needs training before it speaks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/weights.h"
#include "model/model_config.h"

namespace r1 {

// `keep` of `layers` layers, ascending, evenly spread, the first and the last among them (keep 1: the first). Throws ConfigError unless
// 1 <= keep < layers.
std::vector<std::int64_t> kept_layers(std::int64_t layers, std::int64_t keep);

// The config with so many layers; its json too.
ModelConfig with_layers(const ModelConfig& config, std::int64_t layers);

// The views of the kept layers under their new numbers, and all that belong to no layer. The memory is the given views'.
std::vector<TensorView> cut_layers(const std::vector<TensorView>& tensors, const std::vector<std::int64_t>& kept);

}  // namespace r1
