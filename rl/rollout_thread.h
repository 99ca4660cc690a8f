// The rollout in a thread of its own, beside the learner: which weights draw which rollout, and what waits for what.
//
// Schedule. Rollout r is learned from in updates rU .. rU + U - 1 (U updates a rollout). With staleness k it is sampled with the
// weights after update max(rU - k, b), b = the update this process began at, and begins as soon as these exist and rollout r - 1 has
// ended. In the default mode exactly those weights draw all of it, however the threads are timed, so a run is reproducible to the bit.
// Free running, rU - k only says when it may begin; then the engine always has the newest weights, also in the middle of an answer.
//
// The engine has weights of its own. It is the learner's thread that gives them, between updates: where the engine is idle straight
// into it (always so for k <= U), else by a copy on the host that the rollout takes later.
//
// Invariants. 1. A rollout that could begin is begun; so while the learner does not offer weights, the thread comes to rest. 2. At rest
// no weights older than the last offered will be needed again: a checkpoint taken then holds the rollouts that are whole, and no weights.
//
// Of several ranks each has such a thread, and every rollout is one of all: it is whole on each or on none, so their threads come to rest at
// the same rollout, and none samples with weights that another has not got yet. Whether this rank's thread was at rest or not when weights
// were offered may differ; what the learner's ranks do together does not depend on it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "rl/learner.h"
#include "rl/rollout_collector.h"

namespace r1 {

class RolloutThread {
 public:
  struct Options {
    std::int64_t updates_per_rollout = 1;  // U: all updates a rollout is learned from
    std::int64_t max_staleness = 1;        // k
    std::int64_t steps = 0;                // of the run: no rollout is sampled that none would learn from
    bool free_running = false;
    bool alone = true;                     // false: of several ranks, whose learners stop together, between updates
    double patience_s = 3600;
  };
  struct Start {
    std::int64_t step = 0;                 // updates done
    std::uint64_t rollout = 0, cursor = 0; // the first that is not there yet
    std::deque<CollectedRollout> ready;    // those before it that wait for the learner
  };
  // Both outlive it. The thread waits for the first offer().
  RolloutThread(RolloutEngine& engine, RolloutCollector& collector, const Options& options, Start start);
  // Gives the rollout in progress up and waits for it; one that does not end within the patience (10 s at least) ends the process.
  ~RolloutThread();

  // ---- of the learner's thread alone; each throws what ended the rollout's thread, with the rollout's number in front ----
  // Before every update: the weights after `step` updates are these.
  void offer(std::int64_t step, const GrpoLearner& learner);
  // The next rollout; waits. `progress` is called here. Throws Interrupted after a stop request, where `alone`.
  CollectedRollout take(const std::function<void(const RolloutProgress&)>& progress);
  // Runs `work` with the engine, whatever weights it loads, once the thread is at rest.
  void with_engine(const std::function<void()>& work);
  // Waits until the thread is at rest, a stop request or not: the rollouts that wait for the learner. Valid until the next offer().
  const std::deque<CollectedRollout>& at_rest();

 private:
  using Clock = std::chrono::steady_clock;
  struct Staged {
    RolloutWeights weights;
    WeightSnapshot copy;
  };
  void run();
  void work();
  WeightSnapshot copy_of(WeightSnapshot weights);  // the live weights are about to change: one that stays as it is
  std::int64_t first_update(std::uint64_t rollout) const { return static_cast<std::int64_t>(rollout) * options_.updates_per_rollout; }
  std::int64_t weights_of(std::uint64_t rollout) const;  // the step that the schedule names
  bool needed(std::int64_t step) const;
  bool startable() const;
  void rest(std::unique_lock<std::mutex>& lock, bool interruptible);
  void wait_for_thread(std::unique_lock<std::mutex>& lock, const char* what);
  void throw_if_failed() const;
  void glance() const;  // at stops and aborts
  std::string where() const;

  RolloutEngine& engine_;
  RolloutCollector& collector_;
  const Options options_;
  const std::int64_t begin_;

  mutable std::mutex mutex_;  // guards all below
  std::condition_variable changed_;
  std::uint64_t next_, cursor_;          // to be sampled
  std::deque<CollectedRollout> ready_;
  std::int64_t offered_ = -1;            // step of the newest weights
  std::optional<RolloutWeights> loaded_; // in the engine, where they are those of a step
  std::map<std::int64_t, Staged> staged_;
  std::vector<std::shared_ptr<std::vector<std::byte>>> copies_;  // of weights that wait; used again once nobody holds them
  bool sampling_ = false, learner_has_engine_ = false, stop_ = false, ended_ = false;
  Clock::time_point active_, learner_seen_;  // last sign of life of either side
  std::uint64_t progress_number_ = 0;
  RolloutProgress progress_;
  std::exception_ptr error_;
  std::thread thread_;
};

}  // namespace r1
