// What a policy and a value model with LoRA pairs do alike: when weights are merged, when gradients become the pairs' own, dropout.
//
// Dropout (lora.dropout): each micro-batch draws which columns of every A, that is which inputs of a pair, count; the others are 0 and
// these are scaled by 1 / (1 - p). PEFT draws them for every token; here all tokens of a micro-batch share the draw (as in variational
// dropout, arXiv:1512.05287), because then it is part of the merged weights: no kernel knows of it, and layers that are computed again
// see the same draw. It is keyed by (seed, updates done, lane, micro-batch of the lane), so that a resumed run repeats it, on any ranks.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "rl/lora_state.h"

namespace r1 {

// Not thread-safe.
class LoraTraining {
 public:
  // `model`: its gradient is what the state projects; it outlives this. The pairs are merged at once.
  LoraTraining(TrainedModel& model, std::unique_ptr<LoraState> state);

  void begin_pass();    // before a forward pass whose gradient is wanted
  void end_pass();      // after its backward pass
  void settle() const;  // before everything else that reads the weights: merged, without dropout
  void rebase();        // the model's weights are the new base, B = 0

  void zero_gradient();
  double gradient_sum_of_squares();
  std::vector<float> gradient() const;
  void adamw(const AdamWStep& step);
  std::optional<NonFinite> find_non_finite(ParameterPart part);  // of the model's gradient too: it names the model's own tensor
  WeightSnapshot optimizer_state() const;  // and with dropout lora.updates [1], float64
  void restore_optimizer_state(const WeightSnapshot& state);

  // Several ranks: as TrainedModel's.
  void join(Session& session, int zero);  // throws ConfigError for zero 3: every rank merges into whole weights
  void open_lane(int lane);
  void close_lane();
  void finish_gradient();

  const LoraState& state() const { return *state_; }

 private:
  void project() const;  // linear in the model's gradient: without dropout once for all micro-batches
  void draw();

  TrainedModel& model_;
  std::unique_ptr<LoraState> state_;
  std::vector<float> mask_;         // of the pass
  mutable bool masked_ = false;     // the weights are merged with mask_
  mutable bool projected_ = false;
  double updates_ = 0;
  std::uint64_t lane_ = 0, passes_ = 0;  // passes of the lane
};

}  // namespace r1
