// What stages know of those before them: how a model writes, and what a data set that is yet to be made will hold.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "apps/stage_load.h"

namespace r1 {

// How a model answers. Of one that nobody has measured, lengths are taken to be spread as an exponential's, cut by the budget of tokens.
struct Writing {
  double tokens = 0;   // mean of a completion that nothing cuts
  bool spread = true;  // as an exponential; false: all are near the mean
  double right = 0;    // share of right answers; 0 = nobody knows
  std::string why;     // for people
};
// 250 tokens, or a quarter of the budget where that is more: budgets are set with what a model writes in mind.
Writing assumed_writing(int max_new_tokens);
// From a mean that was measured under a budget: much below it nothing was cut, else the exponential whose cut mean this is.
Writing measured_writing(double mean, int max_new_tokens, double right, std::string why);

double mean_written(const Writing& writing, int max_new_tokens);    // of all completions, cut ones included
double mean_finished(const Writing& writing, int max_new_tokens);   // of those that end by themselves
double share_finished(const Writing& writing, int max_new_tokens);

// Groups of `group` completions that do not all earn the same. `right` as in Writing: with it the completions are draws of that share; without,
// prompts are easy and hard as the arcsine law has it.
double expected_mixed(std::int64_t group, double right);
// The mean over a run of `rollouts`, from the share at its start: what a model learns makes groups mixed, up to what is expected of one of which nothing
// is known.
double learnt_mixed(double start, std::int64_t group, std::int64_t rollouts);
// Of `samples` draws that pass with probability `share`: how many are kept on average, at most `most` (0 = all).
double expected_kept(int samples, int most, double share);

// The set that kind generate will make of `prompts` prompts. `kept`: the share of samples that the filters let pass, where somebody says it.
struct ExpectedSet {
  DataSize size;
  double kept = 1;
};
ExpectedSet expected_set(const Yield& yield, std::int64_t prompts, double prompt_tokens, const Writing& writing, int max_new_tokens, std::optional<double> kept);
// A mixture of sets of these sizes, in the order of yield.mixed.
DataSize mixed_set(const Yield& yield, const std::vector<DataSize>& sets);

}  // namespace r1
