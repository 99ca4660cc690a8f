#include "rl/shard_plan.h"

#include <algorithm>

#include "comm/partition.h"
#include "core/error.h"
#include "core/format.h"

namespace r1 {

ShardPlan plan_shards(const Transformer& model, const Share& share) {
  const WeightStore& store = model.weights();
  const std::int64_t n = store.elements(), size = static_cast<std::int64_t>(size_of(store.dtype()));
  const Partition partition(n, share.ranks, Partition::Order::kInterleaved);
  const auto owned = [&](std::int64_t begin, std::int64_t end) {
    std::int64_t sum = 0;
    for (const ElementRange& r : partition.owned(share.rank, begin, end)) sum += r.size();
    return sum;
  };
  const bool several = share.ranks > 1, state = several && share.zero >= 1, gradient = several && share.zero >= 2, weights = several && share.zero >= 3;
  const std::int64_t own = owned(0, n);
  // The most that is fetched at a time: a layer, or the head, which is the embedding too where they are tied.
  const auto stretches = model.gradient_stretches();
  std::int64_t foreign = 0, held = 0, longest = 0;
  for (std::size_t i = 0; i < stretches.size(); ++i) {
    const auto [begin, end] = stretches[i];
    std::int64_t elements = end - begin, others = elements - owned(begin, end);
    longest = std::max(longest, elements);
    if (i + 1 == stretches.size() && model.config().tie_word_embeddings) {
      const auto [first, last] = stretches[i - 1];
      elements += last - first, others += last - first - owned(first, last);
    }
    foreign = std::max(foreign, others), held = std::max(held, elements);
  }
  ShardPlan plan;
  plan.weights_all = n * size;
  plan.weights = (weights ? own : n) * size;
  plan.weights_pass = (weights ? own + foreign : n) * size;
  plan.packed_all = n * size;
  plan.packed_pass = 2 * (weights ? held : n) * size;
  const std::int64_t kept = state ? own : n;
  plan.master = store.dtype() == DType::kF32 ? 0 : kept * 4;
  plan.moments = kept * 8;
  plan.gradient = (gradient ? own + longest : n) * 4;
  plan.gradient_stays = !gradient;
  return plan;
}

std::string ShardPlan::line(const Share& share) const {
  const auto bytes = [](std::int64_t v) { return human_bytes(static_cast<std::uint64_t>(v)); };
  return message("this rank (", share.ranks, " ranks, zero ", share.zero, "): weights ", bytes(weights), weights < weights_all ? message(", ", bytes(weights_pass), " in a pass") : "",
                 ", optimizer ", bytes(master + moments), ", gradient ", bytes(gradient), "; with packed weights at most ", bytes(update()), " in an update, ",
                 bytes(rollout()), " in a rollout");
}

}  // namespace r1
