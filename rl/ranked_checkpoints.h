// A run's checkpoints on several ranks: rank 0 writes and reads the files, the others get what it read.
#pragma once

#include "rl/checkpoint_store.h"
#include "rl/ranks.h"

namespace r1 {

class RankedCheckpoints : public CheckpointStore {
 public:
  // `files` is used on rank 0 alone. Both outlive it.
  RankedCheckpoints(CheckpointStore& files, const Ranks& ranks) : files_(files), ranks_(ranks) {}
  // Collective; returns once the checkpoint is complete. The others' path is empty.
  std::filesystem::path save(const CheckpointState& state, const WeightSnapshot& weights, const WeightSnapshot& optimizer) override;
  // Without the weights: what the optimizer's state holds decides them.
  std::optional<SavedRun> newest() override;

 private:
  CheckpointStore& files_;
  const Ranks& ranks_;
};

}  // namespace r1
