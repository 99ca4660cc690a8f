// Answers that somebody preferred or labelled, as tokens, and how they are packed: the answers to one prompt share its rows.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/types.h"
#include "rl/packing.h"

namespace r1 {

// Samples hold tokens, prompt_length and a loss_mask that is 1 on what is judged; group = number of the example.
struct PreferenceSet {
  bool pairs = true;                 // else labelled answers
  std::vector<TrainSample> samples;  // pairs: example i has 2 i, the chosen answer, and 2 i + 1, the rejected one; else it has i
  std::vector<double> labels;        // of labelled answers: [n], 1 = good, 0 = bad

  std::int64_t size() const { return static_cast<std::int64_t>(samples.size()) / (pairs ? 2 : 1); }
};

// The examples at `places` of a list, as an update or a micro-batch names them.
std::vector<std::int64_t> at_places(std::span<const std::int64_t> examples, std::span<const std::int32_t> places);
// The samples of examples `chosen`, in order.
std::vector<std::int32_t> samples_of(const PreferenceSet& set, std::span<const std::int64_t> chosen);
// Rows that each of them takes: a pair's prompt counts once.
std::vector<std::int64_t> rows_of(const PreferenceSet& set, std::span<const std::int64_t> chosen);

// For a scalar head: every answer gets one more token that nothing reads, and only that token is marked, so that a micro-batch's
// predictors are the rows that have read whole answers.
void mark_for_scores(PreferenceSet& set);

// Leaves out pairs, those with the greatest differences in length first, until chosen and rejected answers have equal mean lengths as
// nearly as that goes: so that length tells nothing (arXiv:2501.12948, reward models). Gives how many are left out; order is kept.
std::int64_t balance_lengths(PreferenceSet& set);

struct MeanLengths {
  double chosen = 0, rejected = 0;  // tokens of an answer; of labelled answers: good, bad
};
MeanLengths mean_lengths(const PreferenceSet& set);

}  // namespace r1
