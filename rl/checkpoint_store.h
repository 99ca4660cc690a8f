// Where a trainer keeps its checkpoints. The interface, and the one over HF directories (model/checkpoint.h).
#pragma once

#include <filesystem>
#include <optional>

#include "core/weights.h"
#include "model/checkpoint.h"

namespace r1 {

struct SavedRun {
  CheckpointState state;
  WeightSnapshot weights;    // as saved for transformers
  WeightSnapshot optimizer;  // GrpoLearner::state() and what the trainer added; owns its memory
};

class CheckpointStore {
 public:
  virtual ~CheckpointStore() = default;
  // Complete or not at all. Returns the folder.
  virtual std::filesystem::path save(const CheckpointState& state, const WeightSnapshot& weights,
                                     const WeightSnapshot& optimizer) = 0;
  // The newest complete one; torn ones are passed over with a message in the log. What a stop after saving it left
  // undone (`latest`, older ones to delete) is done.
  virtual std::optional<SavedRun> newest() = 0;
};

class ModelCheckpointStore : public CheckpointStore {
 public:
  // `root` is the run's checkpoints/ folder.
  ModelCheckpointStore(std::filesystem::path root, ModelConfig config, SaveCheckpointOptions options);
  std::filesystem::path save(const CheckpointState& state, const WeightSnapshot& weights,
                             const WeightSnapshot& optimizer) override;
  std::optional<SavedRun> newest() override;

 private:
  std::filesystem::path root_;
  ModelConfig config_;
  SaveCheckpointOptions options_;
};

}  // namespace r1
