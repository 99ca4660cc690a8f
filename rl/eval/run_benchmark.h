// One benchmark, start to end: what is missing is sampled, graded as it comes, kept, and summed up.
#pragma once

#include <filesystem>
#include <functional>

#include "rl/eval/completion_source.h"
#include "rl/eval/results.h"

namespace r1 {

struct BenchmarkRun {
  Benchmark benchmark;             // name, title, rows; the form is in the prompts already
  std::vector<Prompt> prompts;     // unique ids
  bool greedy = false;
  int samples = 0;                 // of the sampled part; 0 = none
  SamplingOptions sampling;
  std::vector<int> pass_k;
  std::uint64_t seed = 0;
  int grading_threads = 1;
  std::filesystem::path out;       // a folder; empty = nothing is kept
  std::string settings_json = "{}";  // what decides the samples: a change of it is refused in a used folder
  std::function<void(std::int64_t done, std::int64_t total)> progress;
};

// Writes, if `out` is set, NAME.samples.jsonl, NAME.items.jsonl (a line an item: id, part, reference, samples, strict, lenient,
// truncated, majority) and NAME.settings.json. Throws what the
// source throws, with all graded samples kept; Interrupted after a stop signal.
BenchmarkResult run_benchmark(const BenchmarkRun& run, const Grader& grader, CompletionSource& source);

// The same three files from samples that were not made here. Replaces older ones.
void keep_result(const std::filesystem::path& dir, const BenchmarkResult& result, std::span<const GradedSample> samples,
                 const ResultOptions& options);

// The result of a folder that those two filled: from its samples. Throws DataError.
BenchmarkResult load_result(const std::filesystem::path& dir, const std::string& name);
// Names of the benchmarks in such a folder, in alphabetical order; empty if it is none.
std::vector<std::string> results_in(const std::filesystem::path& dir);

}  // namespace r1
