#include "rl/optimizer.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace r1 {

UpdateStats Optimizer::step(TrainedModel& model) {
  UpdateStats stats;
  model.finish_gradient();
  stats.grad_norm = std::sqrt(model.gradient_sum_of_squares());
  if (!std::isfinite(stats.grad_norm)) throw BadGradient("the gradient norm is not finite");
  // As torch.nn.utils.clip_grad_norm_.
  if (options_.max_grad_norm > 0) stats.clip_scale = std::min(1.0, options_.max_grad_norm / (stats.grad_norm + 1e-6));
  stats.learning_rate = learning_rate(options_.learning_rate, updates_);
  model.adamw({stats.learning_rate, options_.beta1, options_.beta2, options_.epsilon, options_.weight_decay,
                options_.decay_vectors, stats.clip_scale, updates_ + 1});
  ++updates_;
  if (const auto bad = model.find_non_finite(ParameterPart::kMaster))
    throw NumericError(message("update ", updates_, " made weight ", bad->element, " of ", bad->tensor, " ", bad->value,
                               " (learning rate ", stats.learning_rate, ", gradient norm ", stats.grad_norm,
                               "): lower the learning rate or rl.max_grad_norm"));
  return stats;
}

}  // namespace r1
