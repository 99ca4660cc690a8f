// A benchmark's data row -> the row that prompts and rewards are made from.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "rl/eval/benchmark.h"
#include "text/dataset.h"

namespace r1 {

// The row with columns id, prompt (the template filled in), reference, and what the reward reads (choices, tests),
// besides its own. `number` names a row without an id and, with `seed`, keys the order of its choices. Throws DataError
// naming file, line and column.
Row benchmark_row(const Benchmark& benchmark, const Row& raw, std::int64_t number, std::uint64_t seed);

// Options under which benchmark_row()'s rows are read: their columns' names, and the template.
DatasetOptions benchmark_row_options();

// The rows of the files that the benchmark counts, made by benchmark_row(). `limit` 0 = all. Throws DataError: also for
// equal ids and for files without a row that counts.
std::vector<Row> benchmark_rows(const Benchmark& benchmark, const std::vector<std::string>& files, std::int64_t limit, std::uint64_t seed);

// Puts worked examples before every question (few-shot): the first `shots` rows of `file`, each its question as the template has it, a line
// break and its answer: the answer column whole, of choices the letter; an empty line between them. Throws DataError: too few rows, a row
// whose question is one of `rows`; ConfigError for code, whose answers are judged by tests.
void put_examples_before(std::vector<Row>& rows, const Benchmark& benchmark, const std::string& file, int shots, std::uint64_t seed);

// Rows without tokens: for grading what exists, and for models behind a URL.
std::vector<Prompt> unrendered_prompts(const std::vector<Row>& rows);

// "{a} of {b}" with columns' texts put in; a list of texts is joined by line breaks. What is no column's name stays as it
// is, so that \boxed{} and code may stand in a template. Single pass: braces in a column's text are text.
std::string fill_template(const std::string& text, const Row& row);

}  // namespace r1
