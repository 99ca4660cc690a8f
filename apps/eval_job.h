// The benchmarks of one `r1 eval` call: data, gradings and settings from the command line.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "apps/data_options.h"
#include "apps/eval_model.h"
#include "rl/eval/completions_file.h"
#include "rl/eval/run_benchmark.h"

namespace r1 {

struct EvalJobOptions {
  std::vector<std::string> benchmarks;  // empty: data.section.files hold problems, graded by data.rewards
  DataOptions data;                     // with benchmarks: section.files are files, folders, NAME=FILE
  std::string protocol;                 // r1, greedy, both; "" = r1 with benchmarks, else greedy (both with samples)
  int samples = 0;
  bool no_greedy = false;
  std::vector<int> pass_k;
  int shots = 0;                        // worked examples before a benchmark's question, of shots_data's first rows
  std::string shots_data;
  SamplingFlags sampling;
  std::string out;                      // folder; empty = nothing is kept
  int grading_threads = 0;
  bool quiet = false;
  // Which of the values above were given; the others are the benchmark's.
  bool samples_set = false, temperature_set = false, top_p_set = false, max_new_tokens_set = false, rewards_set = false;
};

// Completions of an item: greedy ones (0 or 1) and samples, for a benchmark that has so many samples by itself.
struct EvalParts { int greedy = 0, samples = 0; };
EvalParts eval_parts(const EvalJobOptions& job, int benchmark_samples);

// What can be checked before a model is opened: benchmarks, and that their files are there. Throws ConfigError, DataError.
void check_eval_job(const EvalJobOptions& job);

// Every benchmark in turn. All data, golds and options are checked before the first sample. Throws ConfigError, DataError;
// Interrupted with what was done kept in `out`.
std::vector<BenchmarkResult> run_eval_job(EvalModel& model, const EvalJobOptions& job, const std::filesystem::path& out);

// Grades options.file by the one benchmark, or by data.rewards.
CompletionsResult grade_eval_completions(const EvalJobOptions& job, CompletionsOptions options);

}  // namespace r1
