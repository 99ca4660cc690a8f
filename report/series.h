// Metrics as lines over steps: one run's, and the mean over runs that differ in their seed.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "report/run_data.h"

namespace r1::report {

struct Point {
  double step = 0, value = 0;
};
using Line = std::vector<Point>;  // steps rise

// A step written twice (a run that was resumed) counts as written last. Empty if the run has no such metric.
Line line_of(const RunData& run, const std::string& metric);
// The mean at each step that every non-empty line has; empty below two such lines.
Line mean_line(std::span<const Line> lines);
// Sample standard deviation (n - 1); NaN below two values.
double sample_deviation(std::span<const double> values);
// At most `count` of `n` indices, evenly spread, the first and the last among them.
std::vector<std::size_t> spread_indices(std::size_t n, std::size_t count);

// Runs of one configuration but for seed and output, in the order of the command line.
struct RunGroup {
  std::string name;                    // of its only run, else "NAME and n - 1 more"
  std::vector<const RunData*> runs;
};
std::vector<RunGroup> group_runs(std::span<const RunData> runs);

}  // namespace r1::report
