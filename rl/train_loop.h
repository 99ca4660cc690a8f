// What every training loop does alike: when it evaluates, saves and stops, and the part of a checkpoint that says where the run
// stands. A kind of training adds its updates and its own state.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rl/checkpoint_store.h"
#include "rl/ranks.h"
#include "rl/train_observer.h"

namespace r1 {

struct LoopOptions {
  std::int64_t steps = 100;      // updates of the whole run
  std::int64_t save_every = 50;  // updates; 0 = at the end only
  std::int64_t eval_every = 20;  // updates; 0 = never
  bool eval_at_start = true;
  std::uint64_t seed = 0;
  std::string config_digest;     // of what decides the numbers
};

class TrainLoop {
 public:
  virtual ~TrainLoop() = default;
  // Goes on from the newest checkpoint if there is one; gives its step. Throws CheckpointError if it is of another stage or
  // configuration or does not fit the model. Call it before run(), and observers' files after it.
  std::optional<std::int64_t> resume();
  void add_observer(TrainObserver* observer) { observers_.push_back(observer); }
  // To the last step. A stop request (core/signals.h) saves and throws Interrupted.
  void run();
  std::int64_t step() const { return step_; }

 protected:
  // `stage` names the kind in checkpoints. `checkpoints` may be null; all outlive the loop. `ranks`: of a run on several, whose loops all
  // make the same steps; null = one process.
  TrainLoop(std::string stage, LoopOptions options, CheckpointStore* checkpoints, std::vector<TrainObserver*> observers, Ranks* ranks = nullptr);

  virtual bool has_evaluation() const = 0;
  virtual void evaluate() = 0;
  virtual void advance() = 0;  // one update; counts step_
  // ---- checkpoints: what the kind adds, and takes back ----
  // Sets version, data_cursor, plan, extra, ... and gives the tensors of the optimizer's file; called before the weights are taken.
  virtual WeightSnapshot save_state(CheckpointState& state) = 0;
  virtual WeightSnapshot weights_to_save() const = 0;
  virtual WeightDigest weights_digest() const = 0;
  virtual void restore_state(const SavedRun& saved) = 0;  // step_ and num_tokens_ are set already
  virtual void saved() {}                                 // after a checkpoint is complete

  void tell(const std::string& text);
  // The entry of state.extra as a number. Throws CheckpointError.
  std::int64_t number(const CheckpointState& state, const std::string& key) const;

  Ranks& ranks() const { return *ranks_; }
  // The lanes of an update are part of its plan: saved, and gone on with.
  void save_lanes(CheckpointState& state) const;
  void restore_lanes(const CheckpointState& state);

  std::int64_t step_ = 0;        // updates done
  std::int64_t num_tokens_ = 0;  // metric num_tokens
  std::vector<TrainObserver*> observers_;

 private:
  void loop();
  bool evaluation_due() const;
  void save();
  void check_equal_start() const;
  void check_equal_weights() const;

  std::string stage_;
  LoopOptions loop_;
  CheckpointStore* checkpoints_;
  std::unique_ptr<Ranks> one_process_;
  Ranks* ranks_;
  std::optional<std::int64_t> saved_step_, evaluated_step_;
};

}  // namespace r1
