#include "rl/staleness.h"

#include <algorithm>

#include "core/error.h"

namespace r1 {

void check_versions(std::span<const ScoredGroup> groups, WeightVersion oldest, WeightVersion newest) {
  for (const ScoredGroup& g : groups)
    for (std::size_t i = 0; i < g.group.completions.size(); ++i)
      for (const VersionRun& run : g.group.completions[i].version_runs)
        if (run.version < oldest || run.version > newest)
          throw Error(message("sample ", g.group.prompt.id, "/", i, ", completion token ", run.start, ": drawn by weights of version ", run.version,
                              ", where ", oldest == newest ? message("version ", oldest) : message("versions ", oldest, " to ", newest),
                              " should have drawn it: the rollout engine did not take new weights, or took others"));
}

void add_staleness(std::span<const ScoredGroup> groups, std::span<const std::uint8_t> kept, WeightVersion current,
                   std::map<std::string, double>& metrics) {
  double sum = 0, tokens = 0, most = 0;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    if (!kept.empty() && !kept[g]) continue;
    for (const Completion& c : groups[g].group.completions) {
      tokens += static_cast<double>(c.tokens.size());
      for (std::size_t r = 0; r < c.version_runs.size(); ++r) {
        const VersionRun& run = c.version_runs[r];
        const std::int64_t end = r + 1 < c.version_runs.size() ? c.version_runs[r + 1].start : static_cast<std::int64_t>(c.tokens.size());
        const double age = run.version < current ? static_cast<double>(current - run.version) : 0;
        sum += age * static_cast<double>(end - run.start);
        if (end > run.start) most = std::max(most, age);
      }
    }
  }
  if (tokens == 0) return;
  metrics["staleness/mean"] = sum / tokens;
  metrics["staleness/max"] = most;
}

}  // namespace r1
