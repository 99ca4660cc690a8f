// Results for people (one table) and programs (one JSON object).
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "rl/eval/completions_file.h"
#include "rl/eval/elo.h"
#include "rl/eval/results.h"

namespace r1 {

// A row a benchmark, part and grading. Ends with a line break; notes below it: a file with fewer rows than the benchmark,
// grades that failed, differences too small for this many items to show.
std::string results_table(std::span<const BenchmarkResult> results);
// {"benchmarks": {NAME: {"items", "greedy" | "sampled": {"samples", "truncated", "mean_tokens", "strict" | "lenient": {...}}}}}
std::string results_json(std::span<const BenchmarkResult> results);

struct ComparisonRow {
  std::string benchmark;
  bool greedy = false, lenient = false;
  PairedComparison test;
};
// Every part and grading that both sides have, benchmark by benchmark; benchmarks of one side only are left out. Throws
// DataError if nothing is left, or the items of one differ.
std::vector<ComparisonRow> compare_results(std::span<const BenchmarkResult> a, std::span<const BenchmarkResult> b, std::uint64_t seed);
std::string comparison_table(std::span<const ComparisonRow> rows, const std::string& name_a, const std::string& name_b);
std::string comparison_json(std::span<const ComparisonRow> rows, const std::string& name_a, const std::string& name_b);

std::string agreement_table(std::span<const Agreement> agreements);
std::string agreement_json(std::span<const Agreement> agreements);

std::string elo_text(const EloRating& rating);
std::string elo_json(const EloRating& rating);

}  // namespace r1
