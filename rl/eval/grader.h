// Grades completions of one benchmark: strictly and leniently, side by side, with the answer that votes compare.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "rewards/factory.h"
#include "rewards/rubric.h"
#include "rl/eval/benchmark.h"
#include "rl/eval/vote.h"

namespace r1 {

struct Grade {
  Verdict verdict = Verdict::kAbstain;
  double value = 0;
  std::string detail;
  std::string answer;  // as votes compare it; empty = none was found, or this benchmark has no votes
};

// One completion. What was sampled and what was made of it; what a line of the samples file holds.
struct GradedSample {
  std::string id;       // the prompt's
  bool greedy = false;  // of the greedy part, else of the sampled one
  int sample = 0;       // 0..k-1
  std::string text;
  StopReason stop = StopReason::kEos;
  std::int64_t tokens = -1;  // of the completion; -1 = unknown
  Grade strict;
  std::optional<Grade> lenient;  // none where the benchmark has one grading only
};

// Immutable; thread-safe.
class Grader {
 public:
  // `context` for rewards that need something of the program. Throws ConfigError for a bad reward entry.
  Grader(const Benchmark& benchmark, const RewardContext& context = {});
  // With rewards made elsewhere: a file of problems with any reward. One grading, no votes unless the verdict is the
  // maths checker's.
  Grader(Rubric rubric, bool maths);

  bool has_lenient() const { return lenient_ || code_; }
  std::optional<VoteEquality> votes() const { return votes_; }
  // Prompts that can never be graded; see Rubric::check_prompts.
  PromptCheck check_prompts(std::span<const Prompt> prompts) const;
  // Fills strict and lenient.
  void grade(const Prompt& prompt, GradedSample& sample) const;

 private:
  struct Side {
    Rubric rubric;
    std::optional<AnswerSource> source;  // of the maths reward: where votes read the answer
  };
  Grade grade_side(const Side& side, const Prompt& prompt, const std::string& text, StopReason stop) const;
  std::unique_ptr<const Side> strict_, lenient_;  // lenient_ null: one grading
  std::optional<VoteEquality> votes_;
  bool code_ = false;
};

}  // namespace r1
