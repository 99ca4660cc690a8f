// The trained part of a LoRA run, on the device that its model is on: the pairs with gradient and optimizer, and the base weights that
// they are merged into. host_lora.h and gpu_lora.h; what a policy or a value model does with it is in lora_training.h.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "rl/lora_adapter.h"
#include "rl/policy.h"

namespace r1 {

// Not thread-safe. `mask` [adapter().columns()]: a factor for each column of every A, pair after pair (dropout); empty: all 1.
class LoraState {
 public:
  virtual ~LoraState() = default;
  virtual const LoraAdapter& adapter() const = 0;  // its values are those after the last step
  // The model's present weights become the base; with `clear`, B becomes 0.
  virtual void take_base(bool clear) = 0;
  // The model's weights become base + scale B A.
  virtual void merge(std::span<const float> mask) = 0;
  virtual void zero_gradient() = 0;        // of the pairs
  virtual void zero_model_gradient() = 0;  // what project() reads
  // Adds the pairs' gradient, made from the model's gradient at weights that were merged with `mask`.
  virtual void project(std::span<const float> mask) = 0;
  virtual double gradient_sum_of_squares() = 0;
  virtual std::vector<float> gradient() const = 0;  // a host copy
  virtual void adamw(const AdamWStep& step) = 0;    // merges nothing
  virtual std::optional<NonFinite> find_non_finite(ParameterPart part) = 0;
  // master., exp_avg., exp_avg_sq. of the pairs, float32 on the host.
  virtual WeightSnapshot optimizer_state() const = 0;
  virtual void restore_optimizer_state(const WeightSnapshot& state) = 0;  // merges nothing
  // Several ranks: as TrainedModel's, of the pairs.
  virtual void join(Session& session, int zero) = 0;
  virtual void close_lane() = 0;
  virtual void finish_gradient() = 0;
};

}  // namespace r1
