#include "rl/activation_plan.h"

#include <algorithm>

#include "core/error.h"
#include "core/format.h"
#include "core/memory.h"

namespace r1 {

ActivationPlan plan_activations(const Transformer& model, std::int64_t tokens, std::optional<bool> wanted,
                                std::int64_t free_bytes, ArenaParts parts) {
  const std::int64_t kept = model.kept_bytes_per_token(false) * tokens, least = model.kept_bytes_per_token(true) * tokens;
  // Gradient and two moments in float32, and a float32 master beside bfloat16 weights.
  const bool master = model.weights().dtype() != DType::kF32;
  const std::int64_t optimizer = (model.parallel().parts() ? model.weights().elements() : model.config().num_parameters()) * (parts == ArenaParts::kGradient ? 4 : master ? 16 : 12);
  const std::int64_t free = free_bytes < 0 ? available_memory() : free_bytes;
  ActivationPlan plan;
  plan.recompute = wanted.value_or(free > 0 && kept > std::max<std::int64_t>(free - optimizer, 0) / 2);
  const auto bytes = [](std::int64_t n) { return human_bytes(static_cast<std::uint64_t>(n)); };
  plan.line = message("activations of ", with_commas(tokens), " tokens: ", bytes(plan.recompute ? least : kept),
                      plan.recompute ? ", layers computed twice" : "", "; optimizer ", bytes(optimizer));
  if (plan.recompute && !wanted) plan.line += message(" (keeping all takes ", bytes(kept), ", free are ", bytes(free), ")");
  return plan;
}

}  // namespace r1
