// Whether the learner keeps its activations or computes them again in the backward pass.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "model/transformer.h"
#include "rl/parameter_arena.h"

namespace r1 {

struct ActivationPlan {
  bool recompute = false;
  std::string line;  // says so to the user
};

// `wanted`, or without it by memory: activations are kept where a micro-batch's take at most half of what the optimizer
// leaves of `free_bytes` (-1 = ask the system; 0 = unknown: kept). The bits of a run do not depend on the choice.
ActivationPlan plan_activations(const Transformer& model, std::int64_t tokens_per_micro_batch, std::optional<bool> wanted,
                                std::int64_t free_bytes = -1, ArenaParts parts = ArenaParts::kAll);

}  // namespace r1
