#include "sft/packing.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <utility>

#include "core/error.h"

namespace r1 {

MicroBatchPlan pack_best_fit(std::span<const std::int64_t> lengths, std::int64_t budget) {
  R1_CHECK(budget > 0, "tokens_per_micro_batch is ", budget);
  std::vector<std::int32_t> order(lengths.size());
  std::iota(order.begin(), order.end(), 0);
  const auto length = [&](std::int32_t i) { return lengths[static_cast<std::size_t>(i)]; };
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) { return length(a) > length(b); });
  MicroBatchPlan plan;
  std::set<std::pair<std::int64_t, std::size_t>> room;  // (tokens left, part)
  for (std::int32_t i : order) {
    const auto best = room.lower_bound({length(i), 0});
    if (best == room.end()) {
      plan.push_back({i});
      room.emplace(budget - length(i), plan.size() - 1);
      continue;
    }
    const auto [left, part] = *best;
    room.erase(best);
    room.emplace(left - length(i), part);
    plan[part].push_back(i);
  }
  for (auto& part : plan) std::sort(part.begin(), part.end());
  std::sort(plan.begin(), plan.end(), [](const auto& a, const auto& b) { return a.front() < b.front(); });
  return plan;
}

MicroBatchPlan pack_lane(std::span<const std::int64_t> lengths, std::span<const std::int32_t> chosen, std::int64_t budget) {
  std::vector<std::int64_t> own;
  for (const std::int32_t i : chosen) own.push_back(lengths[static_cast<std::size_t>(i)]);
  MicroBatchPlan out = pack_best_fit(own, budget);
  for (auto& part : out)
    for (std::int32_t& i : part) i = chosen[static_cast<std::size_t>(i)];
  return out;
}

}  // namespace r1
