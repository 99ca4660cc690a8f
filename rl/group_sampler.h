// Prompts -> groups of scored completions: sampling, scoring in a pool meanwhile, journalling of what is finished.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "core/thread_pool.h"
#include "core/types.h"
#include "rl/rollout_journal.h"
#include "rl/scorer.h"
#include "rollout/engine.h"

namespace r1 {

struct RolloutTimes {
  double generate_s = 0, reward_wait_s = 0;  // scoring that did not fit behind the generation
  double reward_cpu_s = 0;                   // summed over the pool
};

struct RolloutProgress {
  std::int64_t completions = 0, total = 0, tokens = 0;
  double seconds = 0;
};

class GroupSampler {
 public:
  struct Options {
    int samples_per_prompt = 16;
    SamplingOptions sampling;
    std::uint64_t seed = 0;
    int reward_threads = 1;
  };
  // All outlive the sampler.
  GroupSampler(RolloutEngine& engine, Scorer scorer, RolloutJournal& journal, const Options& options);

  struct Item {
    std::uint64_t index = 0;  // in the rollout order of the whole run: key of the draws and of the journal
    Prompt prompt;
  };
  // One scored group an item, in order. What `known` holds is not sampled or scored again. `progress` is called as
  // samples end. Throws Interrupted soon after a stop was requested (core/signals.h): what is finished lies in the
  // journal.
  std::vector<ScoredGroup> sample(std::vector<Item> items, std::uint64_t rollout, RolloutJournal::Contents& known,
                                  const std::function<void(const RolloutProgress&)>& progress);
  const RolloutTimes& times() const { return times_; }  // since the last reset
  void reset_times() { times_ = {}; }

 private:
  struct Work;
  void submit_missing(Work& work, std::uint64_t rollout, RolloutJournal::Contents& known);
  void group_finished(Work& work, std::size_t item);

  RolloutEngine& engine_;
  Scorer scorer_;
  RolloutJournal& journal_;
  Options options_;
  ThreadPool pool_;
  RolloutTimes times_;
};

}  // namespace r1
