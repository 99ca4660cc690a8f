// Two ways of scoring the same completions, held against each other.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/types.h"

namespace r1 {

struct RewardFlip {
  std::int64_t step = 0;
  std::size_t sample = 0;           // in its group
  const Prompt* prompt = nullptr;   // valid during the call
  const Completion* completion = nullptr;
  const Score *before = nullptr, *after = nullptr;
};

struct RewardDiff {
  std::int64_t groups = 0, completions = 0;
  std::int64_t flips = 0;           // verdicts that differ; where one side gives none (abstains), rewards that differ
  std::int64_t values = 0;          // rewards that differ, verdicts equal or not
  std::map<std::pair<Verdict, Verdict>, std::int64_t> moves;  // of the flips
  double before = 0, after = 0;     // sums of rewards
  std::int64_t signal_before = 0, signal_after = 0;  // groups with rewards that differ within them

  // `before` and `after` [G] are scores of the group's completions.
  void add(std::int64_t step, const SampleGroup& group, std::span<const Score> before, std::span<const Score> after,
           const std::function<void(const RewardFlip&)>& on_flip);
  std::string text() const;  // for people: counts, means, a line a kind of flip
};

// One JSON line: step, prompt_id, sample, reference, completion, and for both sides verdict, detail, reward, rewards, columns.
std::string flip_json(const RewardFlip& flip);

}  // namespace r1
