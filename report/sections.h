// The parts of the page; each returns HTML, empty where the runs have nothing for it.
#pragma once

#include <span>
#include <string>

#include "report/page.h"
#include "report/series.h"

namespace r1::report {

std::string problems_section(std::span<const RunData> runs);
std::string summary_section(const PageInput& input);                     // a row a run or stage
std::string stages_section(std::span<const RunData> runs);               // what each evaluated stage writes; the same prompts at every stage
std::string curves_section(std::span<const RunGroup> groups);
std::string samples_section(std::span<const RunData> runs);              // the same prompts through time
std::string language_section(std::span<const RunData> runs);             // reflective words, languages
std::string verdicts_section(std::span<const RunData> runs);             // verdicts, audit disagreements
std::string cost_section(std::span<const RunData> runs);                 // time and memory
std::string configuration_section(std::span<const RunData> runs, std::span<const RunGroup> groups);  // with digests and environment

// The completions a text statistic is taken from: held-out ones at temperature > 0 if there are any, else held-out greedy
// ones, else the training transcripts. By step.
std::map<std::int64_t, std::vector<const SampleRow*>> texts_by_step(const RunData& run);
// A transcript with its facts: verdict, rewards, length, what was read.
std::string transcript(const SampleRow& row);
std::string texts_source(const RunData& run);  // which of them, for a caption

}  // namespace r1::report
