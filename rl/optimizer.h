// One optimizer update of a model: gradient norm, clipping, AdamW, schedule, and the check for bad numbers.
#pragma once

#include <cstdint>
#include <stdexcept>

#include "rl/lr_schedule.h"
#include "rl/policy.h"

namespace r1 {

struct OptimizerOptions {
  LrOptions learning_rate;
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8;
  double weight_decay = 0;
  bool decay_vectors = false;  // decay norms and biases too
  double max_grad_norm = 1;    // global norm; 0 = no clipping
};

struct UpdateStats {
  double grad_norm = 0;      // before clipping
  double clip_scale = 1;     // what the gradient was multiplied by
  double learning_rate = 0;
};

// The gradient arena holds a NaN or Inf: the learner finds out whose it is.
class BadGradient : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Optimizer {
 public:
  explicit Optimizer(const OptimizerOptions& options) : options_(options) {}

  // With several ranks a collective call, with the same outcome on all. Throws BadGradient before anything changed, NumericError naming the tensor if a weight is not finite afterwards.
  UpdateStats step(TrainedModel& model);
  std::int64_t updates() const { return updates_; }
  void set_updates(std::int64_t n) { updates_ = n; }
  const OptimizerOptions& options() const { return options_; }

 private:
  OptimizerOptions options_;
  std::int64_t updates_ = 0;
};

}  // namespace r1
