// The folder of a pipeline: stages/NAME/KEY/ with stage.json and run/ (training), set/ (data) or eval/ (benchmarks).
#pragma once

#include <filesystem>
#include <vector>

#include "report/run_data.h"

namespace r1::report {

// The stages in the order in which they were finished, then those that are not, by the time of their last change. Of a stage that ran
// with several settings the newest is taken. A folder of plain run folders (at its top or in stages/) counts too, in the order of
// their starts. Empty if `dir` is a run or holds none.
std::vector<RunData> load_stages(const std::filesystem::path& dir);

// Scores from NAME.items.jsonl files of `r1 eval`.
std::vector<BenchmarkScore> load_benchmarks(const std::filesystem::path& dir, std::vector<std::string>& problems);
// NAME.samples.jsonl, with the questions of NAME.prompts.jsonl where there is one.
std::vector<BenchmarkTexts> load_benchmark_texts(const std::filesystem::path& dir, std::vector<std::string>& problems);

}  // namespace r1::report
