// What a benchmark is: one YAML file of data (rl/eval/benchmarks/), built into the program; a user's own file has the
// same keys (docs/evaluation.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "rollout/engine.h"

namespace r1 {

// How a data row becomes a question and what its reward needs.
//   kPlain: the template's {column}s    kChoice: a correct and some incorrect columns, shuffled    kCode: tests in the
//   form of HumanEval, MBPP or LiveCodeBench, known by the row's columns
enum class BenchmarkForm : std::uint8_t { kPlain, kChoice, kCode };

struct Benchmark {
  std::string name, title;
  std::string source;                // where the rows come from, under which licence
  std::int64_t rows = 0;             // of the whole set; 0 = unknown
  BenchmarkForm form = BenchmarkForm::kPlain;
  std::vector<std::string> files;    // below a data folder; the first that is there
  std::string question;              // column; empty = the usual names
  std::string answer;                // column of the gold; empty = the usual names
  std::string id;                    // column; empty = id, else the row's number
  std::vector<std::string> choices;  // kChoice: columns, the correct one first
  // A row counts if it lacks the column or has this text in it.
  std::string where_column, where_equals;
  std::string prompt_template;       // {name} is a column's text, {question} the question column's, {choices} lettered lines
  std::string strict, lenient;       // rewards, each one entry of a recipe's `rewards:` as JSON; lenient may be empty
  bool vote = false;                 // answers can be compared, so cons@k has a meaning
  std::string language = "en";       // for people
  // The R1 protocol's numbers.
  int samples = 1;
  std::vector<int> pass_k;
  SamplingOptions sampling;          // temperature, top_p, max_new_tokens, stop strings
};

// Name and YAML text of those built in, in the order of the list.
std::span<const std::pair<std::string, std::string>> built_in_benchmarks();

// A built-in name, or a YAML file (a name with a dot or slash in it). Throws ConfigError: unknown name (with the nearest
// one and the list), unknown key, bad value.
Benchmark load_benchmark(const std::string& name);
Benchmark parse_benchmark(const std::string& yaml, const std::string& name);

// Its data file: `data` itself if that is a file, else the first of `files` below the folder `data`, below its
// subfolder `data`, or there by file name alone. Throws DataError that lists what was looked for and where the rows come from.
std::filesystem::path find_benchmark_data(const Benchmark& benchmark, const std::filesystem::path& data);

}  // namespace r1
