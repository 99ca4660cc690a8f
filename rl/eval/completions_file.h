// Grades completions that were made elsewhere: files of lm-evaluation-harness (--log_samples), of `r1 eval`, of `r1
// generate`, or any rows with a completion column; and compares our verdicts with theirs where the file has some.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "rl/eval/grader.h"
#include "rl/eval/results.h"
#include "text/dataset.h"

namespace r1 {

struct MadeElsewhere {
  Row row;  // the data row: lm-eval's `doc`, else the row itself
  std::string id;  // to join with a data file; empty = the file does not say
  std::vector<Completion> completions;
  bool greedy = false;                   // only files of `r1 eval` say so
  std::map<std::string, double> theirs;  // lm-eval: "strict-match" or "FILTER/METRIC" -> its score; only of single completions
};

// Rows in order; rows of lm-eval that repeat a document for another filter are joined. `column` as in
// text/completion_column.h. Throws DataError.
std::vector<MadeElsewhere> read_completions(const std::string& file, const std::string& column);

struct CompletionsOptions {
  std::string file, column;
  std::string data;        // rows to join by id; empty = the file's own rows hold question and gold
  std::int64_t limit = 0;  // rows of the file; 0 = all
  std::uint64_t seed = 0;
  std::vector<int> pass_k;
  int threads = 1;
};

// How one of their scores and our grading agree. Ours is the strict grading where the name of theirs has "strict" in it,
// else the lenient one.
struct Agreement {
  std::string name;
  bool lenient = false;
  std::int64_t items = 0, theirs = 0, ours = 0, only_theirs = 0, only_ours = 0;
  std::vector<std::string> differing;  // one line an item: id, gold, what we read
};

struct CompletionsResult {
  BenchmarkResult result;
  ResultOptions counting;  // of the result
  std::vector<GradedSample> samples;
  std::vector<Agreement> agreements;
};

// Throws DataError: rows that cannot be graded, ids without a data row.
CompletionsResult grade_completions(const Benchmark& benchmark, const Grader& grader, const CompletionsOptions& options);

}  // namespace r1
