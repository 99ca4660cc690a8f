// Held-out examples of a run on several ranks: each rank looks at those of its lanes, all get the sums of all of them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/signals.h"
#include "rl/ranks.h"
#include "sft/packing.h"

namespace r1 {

// Calls look(part, sums) for micro-batches that cover this rank's `lanes` [ranks.lanes()] of examples, which take `rows` [n] each; gives
// the sums of all lanes, added in their order. Sums: plain values with add(). Collective; throws Interrupted after a stop was requested.
template <class Sums, class Look>
Sums over_lanes(const Ranks& ranks, const std::vector<std::vector<std::int32_t>>& lanes, std::span<const std::int64_t> rows, std::int64_t budget, Look&& look) {
  std::vector<Sums> mine;
  ranks.agree("validation", [&] {
    mine.clear();
    for (int lane = ranks.first_lane(); lane < ranks.last_lane(); ++lane) {
      mine.emplace_back();
      for (const std::vector<std::int32_t>& part : pack_lane(rows, lanes[static_cast<std::size_t>(lane)], budget)) {
        ranks.throw_if_group_stopped();
        look(std::span<const std::int32_t>(part), mine.back());
      }
    }
  });
  Sums sums;
  for (const std::string& bytes : ranks.gather_lanes(bytes_of(std::span<const Sums>(mine)), "validation"))
    for (const Sums& s : values_of<Sums>(bytes)) sums.add(s);
  return sums;
}

}  // namespace r1
