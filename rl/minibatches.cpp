#include "rl/minibatches.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "core/rng.h"

namespace r1 {
namespace {
constexpr std::uint64_t kStream = 0x6d696e6962617463ull;  // "minibatc": apart from every other use of the seed
}

std::vector<std::vector<std::int32_t>> split_minibatches(std::span<const TrainSample> samples, int n,
                                                         std::uint64_t seed, std::uint64_t rollout) {
  R1_CHECK(n > 0, "updates_per_rollout is ", n);
  std::vector<std::vector<std::int32_t>> units;  // groups, or samples where groups are too few
  for (std::size_t i = 0; i < samples.size(); ++i) {
    if (i == 0 || samples[i].group != samples[i - 1].group) units.emplace_back();
    units.back().push_back(static_cast<std::int32_t>(i));
  }
  if (units.size() < static_cast<std::size_t>(n)) {
    units.clear();
    for (std::size_t i = 0; i < samples.size(); ++i) units.push_back({static_cast<std::int32_t>(i)});
  }
  std::vector<std::size_t> order(units.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (n > 1) {
    StreamRng rng(seed, mix64(rollout ^ kStream));
    for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[rng.below(i)]);
  }
  std::vector<std::vector<std::int32_t>> parts(static_cast<std::size_t>(n));
  for (std::size_t p = 0; p < parts.size(); ++p) {
    const std::size_t begin = p * units.size() / parts.size(), end = (p + 1) * units.size() / parts.size();
    std::sort(order.begin() + static_cast<std::ptrdiff_t>(begin), order.begin() + static_cast<std::ptrdiff_t>(end));
    for (std::size_t k = begin; k < end; ++k)
      parts[p].insert(parts[p].end(), units[order[k]].begin(), units[order[k]].end());
  }
  return parts;
}

}  // namespace r1
