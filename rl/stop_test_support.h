// A signal in the middle of a rollout, for the tests of several ranks.
#pragma once

#include <csignal>

#include "rl/train_observer.h"

namespace r1::test {

// The second rank is told to stop (SIGTERM) at its 13th sign of progress.
class StopOfSecondRank : public TrainObserver {
 public:
  explicit StopOfSecondRank(int rank) : rank_(rank) {}
  void on_rollout_progress(const RolloutProgress&) override {
    if (rank_ == 1 && --left_ == 0) raise(SIGTERM);
  }

 private:
  int rank_, left_ = 13;
};

}  // namespace r1::test
