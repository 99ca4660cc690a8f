// From graded samples to the numbers of an evaluation. Formulas: docs/evaluation.md.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rl/eval/grader.h"
#include "rl/eval/paired.h"
#include "rl/statistics.h"

namespace r1 {

// Under one grading (strict or lenient) of one part (greedy or sampled).
struct GradingResult {
  double pass1 = 0;             // mean over items of the share of its samples that were right
  Interval interval;            // 95 %: Wilson where each item has one sample, else bootstrap over items
  double standard_error = 0;    // items as a draw; NaN below two items
  double sampling_error = 0;    // items fixed: sqrt(sum var_i) / N; NaN below two samples an item
  std::map<int, double> pass_at, cons_at;              // k > 1
  std::map<int, Interval> pass_at_interval, cons_at_interval;
  double mean_value = 0;        // of the reward
  std::map<std::string, std::int64_t> verdicts;
};

struct PartResult {
  bool greedy = false;
  int samples = 0;              // an item; of the item that has fewest
  std::int64_t items = 0, completions = 0;
  double truncated = 0;         // share cut off by the token budget
  double mean_tokens = 0;       // NaN where nobody counted
  GradingResult strict;
  std::optional<GradingResult> lenient;
  double smallest_detectable = 0;  // a difference to another model that 80 % of such evaluations would find, unpaired; NaN if all items are equal
};

// One item of one part, in the order of the data.
struct ItemResult {
  std::string id, reference;
  bool greedy = false;
  std::int64_t samples = 0, strict = 0, lenient = 0, truncated = 0;  // counts
  std::string majority;         // of the lenient grading where there is one; empty without votes
};

struct BenchmarkResult {
  std::string name, title;
  std::int64_t rows_of_set = 0;  // of the whole benchmark; 0 = unknown
  std::vector<PartResult> parts;
  std::vector<ItemResult> items;
};

struct ResultOptions {
  std::vector<int> pass_k;      // also k of cons@k; each at most the number of samples. Empty = the number of samples
  std::optional<VoteEquality> votes;
  std::uint64_t seed = 0;       // of the bootstrap
};

// cons@k takes the first k samples of each item. Items keep the order in which their ids first come in `samples`.
// Throws DataError: no sample, a k without enough samples.
BenchmarkResult summarise(const std::string& name, std::span<const GradedSample> samples, const std::map<std::string, std::string>& references,
                          const ResultOptions& options);

// Item scores (the share right) of two results, by id, in one part. Throws DataError, naming one, if the ids differ.
struct ItemScores {
  std::vector<double> a, b;
};
ItemScores match_items(const BenchmarkResult& a, const BenchmarkResult& b, bool greedy, bool lenient);

}  // namespace r1
