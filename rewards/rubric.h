// A weighted set of rewards: what a recipe's `rewards:` section means. Turns a group into scores.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/types.h"
#include "rewards/reward.h"

namespace r1 {

// What Rubric::check_prompts found.
struct PromptCheck {
  struct Problem {
    std::size_t index;  // into the prompts
    std::string id, text;
  };
  std::size_t prompts = 0;
  std::vector<Problem> problems;  // at most one a prompt
  // "12 of 400 prompts cannot be scored: row-7: math: unreadable gold answer ''; ... (and 9 more)"; "" if there are
  // none.
  std::string summary(std::size_t shown = 3) const;
};

// Immutable; every const function is thread-safe, so that the trainer scores groups in a pool while others are still
// sampled.
class Rubric {
 public:
  struct Entry {
    std::unique_ptr<RewardFunction> reward;
    std::string label;               // key in Score::parts; default: the reward's name
    float weight = 1.f;              // 0 = measured, not paid
    bool verdict = false;            // this reward's verdict is the sample's
    std::vector<std::string> tasks;  // applies to prompts of these tasks; empty = to all
    bool alone = false;              // what it says of a completion does not depend on the group's others
  };
  // Throws ConfigError: no entries, equal labels, weights that are not finite.
  explicit Rubric(std::vector<Entry> entries);

  // One score a completion. value = sum of weight x value over the rewards that apply to the prompt's task and did not
  // abstain. Verdict and detail are those of the first applicable entry with verdict = true, else of the first one that
  // judges_answer(), else kAbstain. columns: those of the verdict's reward under their names, of others under their
  // names where free, else "label/name"; also "label/verdict" for each that has one and "label/detail" for the others'
  // details. steps: those of all entries, times their weights. Throws NumericError naming reward, prompt and sample for a value that is NaN or infinite; what a reward
  // throws passes with its label and the prompt's id in front.
  std::vector<Score> score(const SampleGroup& group) const;

  // Before a run: which prompts can never be scored, or have no reward for their task.
  PromptCheck check_prompts(std::span<const Prompt> prompts) const;

  // Scores each reward's known answers for this prompt; one line for each that comes out otherwise. Empty = all as
  // wanted.
  std::vector<std::string> self_test(const Prompt& prompt) const;
  std::size_t count_known_answers(const Prompt& prompt) const;

  // True if a completion may be scored before the others of its group have ended: score() of a group of one gives the same.
  bool scores_alone() const;

  const std::vector<Entry>& entries() const { return entries_; }

 private:
  std::vector<Entry> entries_;
};

}  // namespace r1
