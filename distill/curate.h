// From everything drawn to what is kept: a pure function of the raw file and the options, whatever order the samples came in.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "distill/decontaminate.h"
#include "distill/filters.h"
#include "distill/near_duplicates.h"
#include "distill/raw_file.h"

namespace r1 {

struct CurateOptions {
  // Steps in this order; each is off unless set.
  FilterOptions filters;
  DecontaminateOptions decontaminate;
  std::vector<std::string> against;      // evaluation sets: files or patterns
  std::optional<double> min_pass_rate, max_pass_rate;  // of a prompt, over all teachers' judged samples; both included
  // Duplicates of what is kept already are passed over: question and completion together.
  bool exact = false;                    // the same words; white space does not matter
  std::optional<NearOptions> near;
  bool within_prompt = false;            // duplicates are looked for among one prompt's samples only
  enum class Prefer { kDrawn, kShortest, kDiverse, kBest } prefer = Prefer::kDrawn;
  std::string best = "reward";           // kBest: the highest reward, or the label of one of the rewards
  int per_prompt = 0;                    // 0 = all

  std::vector<int> samples;              // [teacher] of each prompt; empty = all there are
};

struct CurateStats {
  std::int64_t prompts = 0, samples = 0, judged = 0, correct = 0;
  std::vector<std::pair<std::string, std::int64_t>> filters;    // samples refused by each, in order
  std::map<std::string, std::int64_t> whys;                     // "format: truncated" -> samples; only words, no numbers
  std::int64_t contaminated = 0;
  std::map<std::string, std::int64_t> contaminated_by;          // evaluation set -> samples
  std::string contamination_example;
  std::int64_t too_hard_prompts = 0, too_easy_prompts = 0, difficulty = 0;  // difficulty: samples
  std::int64_t exact = 0, near = 0, not_selected = 0, kept = 0, prompts_kept = 0;
};

struct Kept {
  std::size_t teacher = 0, prompt = 0;
  int sample = 0;
  std::optional<double> pass_rate;  // of its prompt
};

// In the order of prompts; of one prompt, in the order of preference. Throws ConfigError for options without meaning here
// (a pass rate without rewards), DataError for evaluation sets.
std::vector<Kept> curate(const RawFile& file, const CurateOptions& options, CurateStats& stats);

// How many samples of each prompt the options take of this teacher.
int samples_of(const RawFile& file, const CurateOptions& options, std::size_t teacher);

// The completion as training text: the opened think tag of the prompt, the text, the stop string.
std::string whole_text(const RawPrompt::Render& render, const Drawn& drawn);

}  // namespace r1
