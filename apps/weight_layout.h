// The weights of a model as rollout servers and their clients speak of them, and where they lie in a device's memory.
#pragma once

#include <vector>

#include "model/weight_store.h"
#include "proto/weight_arena.h"

namespace r1 {

inline std::vector<TensorView> weight_layout(const ModelConfig& config, DType dtype) {
  std::vector<TensorView> out;
  for (Parameter& p : parameter_layout(config)) out.push_back({std::move(p.name), dtype, std::move(p.shape), nullptr, -1});
  return out;
}

// As GpuWeights lays them out, so that both have one digest.
inline WeightPlaces weight_places(const ModelConfig& config, DType dtype) {
  WeightPlaces out;
  for (const Parameter& p : parameter_layout(config)) {
    out.offsets.push_back(static_cast<std::uint64_t>(p.offset) * size_of(dtype));
    out.bytes = (static_cast<std::uint64_t>(p.offset + p.elements) + 31) / 32 * 32 * size_of(dtype);
  }
  return out;
}

}  // namespace r1
