// What the learner needs of a model: log-probabilities, an explicit backward pass, an optimizer step. Implemented over
// r1::Transformer on the CPU (transformer_policy.h) and by a table (table_policy.h); a GPU model keeps its arenas on
// the device behind the same calls.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>

#include "core/weights.h"
#include "model/transformer.h"

namespace r1 {

// Gives log-probabilities; the reference model is one. Not thread-safe.
class ScoringModel {
 public:
  virtual ~ScoringModel() = default;
  // Log-probabilities of batch.targets, keeping nothing; the same bits as forward().
  virtual LogprobRows evaluate(const PackedBatch& batch, float temperature, bool want_entropies) = 0;
  // Losses of whole distributions (distillation): logits of batch.predictors, a part at a time, as Transformer's. Each row has
  // logit_ids() that mean something, logit_stride() apart from the next row. CPU models alone; others throw ConfigError.
  virtual void prepare_logits(const PackedBatch& batch);
  virtual const float* logit_rows(std::int64_t first, std::int64_t count);
  virtual std::int64_t logit_stride() const;
  virtual std::int64_t logit_ids() const;
  virtual WeightSnapshot weights(WeightVersion version) const = 0;  // views of the live weights, where they are
  virtual WeightSnapshot host_weights(WeightVersion version) const { return weights(version); }  // to be read on the host
  virtual void load(const WeightSnapshot& weights) = 0;             // every parameter; throws CheckpointError
};

// One AdamW step. Betas, epsilon: Kingma & Ba; decoupled decay: arXiv:1711.05101.
struct AdamWStep {
  double learning_rate = 0, beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8, weight_decay = 0;
  bool decay_vectors = false;   // also decay norms and biases (parameters of one dimension)
  double gradient_scale = 1;    // from clipping
  std::int64_t update = 1;      // 1 for the first: bias corrections
};

enum class ParameterPart : std::uint8_t { kMaster, kGradient };

// A bad number in an arena.
struct NonFinite {
  std::string tensor;
  std::int64_t element = 0;  // in the tensor, row-major
  float value = 0;
};

// What an optimizer needs of a model. Holds, besides the live weights, a master of float32 precision, a gradient and both moments.
// Not thread-safe.
class TrainedModel {
 public:
  virtual ~TrainedModel() = default;
  virtual void zero_gradient() = 0;
  virtual double gradient_sum_of_squares() = 0;  // float64 sum in a fixed order; not finite iff an element is not
  virtual std::vector<float> gradient() const = 0;  // a host copy in arena order, for tests and diagnosis
  // Master step, then publish(): the live weights are the rounded master and the kernels see them.
  virtual void adamw(const AdamWStep& step) = 0;
  // The first element that is NaN or Inf.
  virtual std::optional<NonFinite> find_non_finite(ParameterPart part) = 0;
  // master.NAME in float32, exp_avg.NAME, exp_avg_sq.NAME in float32 or as the policy packs them: with the live weights all that a
  // resumed run needs.
  virtual WeightSnapshot optimizer_state() const = 0;
  // Restores them bit for bit and publishes. Throws CheckpointError naming the tensor that is missing or misshapen.
  virtual void restore_optimizer_state(const WeightSnapshot& state) = 0;
  virtual WeightDigest digest() const = 0;  // of the live weights
};

class PolicyModel : public ScoringModel, public TrainedModel {
 public:
  // Mixtures of experts; a model without experts takes 0 only (ConfigError otherwise).
  // Backward passes add weight * the balance loss of each sequence and layer.
  virtual void set_balance_loss(double weight);
  // After the passes and the step of an update: moves the correction biases by `bias_speed` against the load of its forward passes;
  // metrics moe/load_max_over_mean, moe/dropped, moe/balance_loss.
  virtual void finish_experts(double bias_speed, std::map<std::string, double>& metrics);
  // Multi-token prediction: Transformer's calls of these names. A model without such a layer takes weight 0 only.
  virtual void set_prediction_loss(double weight);
  virtual PredictionLoss take_prediction_loss() { return {}; }
  // As evaluate(), keeping what backward() needs.
  virtual LogprobRows forward(const PackedBatch& batch, float temperature, bool want_entropies) = 0;
  // After forward(): adds the gradient of sum_i d_logprobs[i] logprobs[i] + d_entropies[i] entropies[i] to the gradient
  // arena; d_entropies may be empty.
  virtual void backward(std::span<const float> d_logprobs, std::span<const float> d_entropies) = 0;
  // Forward and backward pass of a loss of whole distributions, added to the gradient arena; see Transformer::train_logits.
  virtual void train_logits(const PackedBatch& batch, Transformer::LogitLoss loss);
};

}  // namespace r1
