#include "report/series.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "core/error.h"

namespace r1::report {

Line line_of(const RunData& run, const std::string& metric) {
  std::map<std::int64_t, double> by_step;
  for (const MetricRow& row : run.metrics)
    if (const auto it = row.values.find(metric); it != row.values.end()) by_step[row.step] = it->second;
  Line line;
  for (const auto& [step, value] : by_step) line.push_back({static_cast<double>(step), value});
  return line;
}

Line mean_line(std::span<const Line> lines) {
  std::size_t used = 0;
  std::map<double, std::pair<double, std::size_t>> sums;
  for (const Line& line : lines) {
    used += !line.empty();
    for (const Point& p : line) {
      sums[p.step].first += p.value;
      sums[p.step].second += 1;
    }
  }
  Line mean;
  if (used < 2) return mean;
  for (const auto& [step, sum] : sums)
    if (sum.second == used) mean.push_back({step, sum.first / static_cast<double>(used)});
  return mean;
}

double sample_deviation(std::span<const double> values) {
  if (values.size() < 2) return std::numeric_limits<double>::quiet_NaN();
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  if (*high - *low <= 1e-12 * std::max(std::abs(*low), std::abs(*high))) return 0;  // sums in another order
  double mean = 0, square = 0;
  for (double v : values) mean += v / static_cast<double>(values.size());
  for (double v : values) square += (v - mean) * (v - mean);
  return std::sqrt(square / static_cast<double>(values.size() - 1));
}

std::vector<std::size_t> spread_indices(std::size_t n, std::size_t count) {
  std::vector<std::size_t> indices;
  if (n <= count) {
    for (std::size_t i = 0; i < n; ++i) indices.push_back(i);
  } else if (count == 1) {
    indices.push_back(n - 1);
  } else {
    for (std::size_t i = 0; i < count; ++i) indices.push_back(i * (n - 1) / (count - 1));
  }
  return indices;
}

std::vector<RunGroup> group_runs(std::span<const RunData> runs) {
  std::vector<RunGroup> groups;
  for (const RunData& run : runs) {
    RunGroup* mine = nullptr;
    for (RunGroup& g : groups)
      if (!run.group.empty() && g.runs.front()->group == run.group) mine = &g;
    if (!mine) mine = &groups.emplace_back(RunGroup{run.name, {}});
    mine->runs.push_back(&run);
  }
  for (RunGroup& g : groups)
    if (g.runs.size() > 1) g.name = message(g.runs.front()->name, " and ", g.runs.size() - 1, " more");
  return groups;
}

}  // namespace r1::report
