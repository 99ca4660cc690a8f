// Prompts -> groups of scored completions: sampling, scoring in a pool meanwhile, journalling of what is finished.
// A completion is scored as soon as it has ended where its rewards allow that, else with its group.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/thread_pool.h"
#include "core/types.h"
#include "rl/early_stop.h"
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
    bool interruptible = true;  // a stop request ends sample(); false: it works on (unless the run was aborted), for somebody who decides what becomes of it
    const Ranks* ranks = nullptr;  // of which those that sample together stop together; outlives the sampler
    EarlyStopNews* news = nullptr;  // of other ranks; outlives the sampler
  };
  // All outlive the sampler.
  GroupSampler(RolloutEngine& engine, Scoring scoring, RolloutJournal& journal, const Options& options);

  struct Item {
    std::uint64_t index = 0;  // in the rollout order of the whole run: key of the draws and of the journal
    Prompt prompt;
  };
  // One scored group an item, in order. What `known` holds is not sampled or scored again. `progress` is called as
  // samples end. Throws Interrupted soon after a stop was requested (core/signals.h) or after abandon(): what is finished
  // lies in the journal. With `wanted`, of the groups of all ranks, those are ended early, and have no completions, that are known
  // not to be among the wanted ones of rl/early_stop.h, and early_stop() counts; without other ranks that is all the others.
  std::vector<ScoredGroup> sample(std::vector<Item> items, std::uint64_t rollout, RolloutJournal::Contents& known,
                                  const std::function<void(const RolloutProgress&)>& progress, std::optional<std::size_t> wanted = {});
  const RolloutTimes& times() const { return times_; }  // since the last reset
  const EarlyStopCounts& early_stop() const { return early_stop_; }  // of the last sample()
  void reset_times() { times_ = {}; }
  // For good: sample() ends with Interrupted, what runs is cancelled. Thread-safe.
  void abandon();

 private:
  struct Work;
  void submit_missing(Work& work, std::uint64_t rollout, RolloutJournal::Contents& known);
  void on_event(Work& work, RolloutEvent&& event);
  void completion_finished(Work& work, std::size_t item, std::size_t sample);
  void group_finished(Work& work, std::size_t item);
  void group_scored(Work& work, std::size_t item, std::vector<Score> scores);
  void cancel_lost(Work& work);
  void throw_if_over() const;

  RolloutEngine& engine_;
  Scoring scoring_;
  RolloutJournal& journal_;
  Options options_;
  ThreadPool pool_;
  RolloutTimes times_;
  EarlyStopCounts early_stop_;
  std::atomic<bool> abandoned_{false};
  std::mutex requests_mutex_;
  std::vector<RequestId> requests_;  // of the sample() that is going on
};

}  // namespace r1
