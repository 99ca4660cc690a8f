// Draws what the raw file still lacks: every engine of every teacher at once, and the rewards beside them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "distill/raw_file.h"
#include "distill/sample_source.h"
#include "rewards/rubric.h"

namespace r1 {

struct DrawOptions {
  int reward_threads = 1;
  std::function<void(std::int64_t done, std::int64_t total)> progress;  // after each sample; any thread, one at a time
  std::function<void(const std::string&)> warn;                         // an engine went out of order; any thread
};

// What the file says of prompts, from the teachers' own. Throws DataError where they do not have the same prompts.
std::vector<RawPrompt> raw_prompts(const std::vector<SampleTeacher>& teachers);
RawHeader raw_header(const std::vector<SampleTeacher>& teachers, std::uint64_t seed, const std::string& rewards_json);

// Returns once every teacher's samples are there and, with a rubric, scored: a teacher's samples of a prompt are scored as
// one group. A sample that is there is not drawn again. Throws Interrupted after a stop signal and, when a teacher has no
// engine left, what the last one threw; what was drawn stays in the file.
void draw_samples(std::vector<SampleTeacher>& teachers, RawFile& file, const Rubric* rubric, const DrawOptions& options);

// The group that the rewards see: prompt and completions with their numbers [0, samples).
SampleGroup raw_group(const RawFile& file, std::size_t teacher, std::size_t prompt, int samples);

}  // namespace r1
