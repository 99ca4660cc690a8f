// What the learner needs of a model: log-probabilities, an explicit backward pass, an optimizer step. Implemented over
// r1::Transformer on the CPU (transformer_policy.h) and by a table (table_policy.h); a GPU model keeps its arenas on
// the device behind the same calls.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "core/weights.h"
#include "model/transformer.h"

namespace r1 {

class Session;

// Gives log-probabilities; the reference model is one. Not thread-safe.
class ScoringModel {
 public:
  virtual ~ScoringModel() = default;
  // Log-probabilities of batch.targets, keeping nothing; the same bits as forward().
  virtual LogprobRows evaluate(const PackedBatch& batch, float temperature, bool want_entropies) = 0;
  // Losses of whole distributions (distillation): logits of batch.predictors, a part at a time, as Transformer's. Each row has
  // logit_ids() that mean something, logit_stride() apart from the next row. Models on the host alone; a GPU computes such losses where
  // its logits are (kd/gpu_kd_pass.h).
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
  // ---- several ranks (rl/ranks.h); a model that no rank was joined to takes them as one ----
  // Once, before the first gradient: from then on this is one of comm.world() equal models, whose gradients are added. `zero`: what each
  // rank keeps a share of: 0 nothing, 1 the optimizer's state, 2 the gradient too, 3 the weights too (docs/distributed.md). Every call below and those that
  // look at the whole are then collective. Throws ConfigError where this model cannot do it.
  virtual void join(Session& session, int zero);
  // After join(), with experts shared out: over whom the gradient of this rank's own is added.
  virtual void join_experts(Session& session);
  // With weights in shares: all of them are here, until the next zero_gradient(). Collective. Before passes that make no gradient and
  // before an engine that shares the weights goes on; weights() and digest() see to it themselves.
  virtual void make_whole() const {}
  // The passes from here to close_lane() are lane `lane` of the update, whichever rank makes it.
  virtual void open_lane(int lane) {}
  // What was added to the gradient since zero_gradient() or the last call is one lane, the next of this rank's.
  virtual void close_lane() {}
  // All lanes of all ranks are closed: the gradient becomes their sum. Once an update; after it only norm, step and search may follow.
  virtual void finish_gradient() {}
  // Takes the part in others' forward and backward pass that a sharded gradient, or sharded weights, need, without a pass of its own.
  virtual bool backward_is_collective() const { return false; }
  virtual void absent_backward() {}
  // The first element that is NaN or Inf.
  virtual std::optional<NonFinite> find_non_finite(ParameterPart part) = 0;
  // master.NAME in float32, exp_avg.NAME, exp_avg_sq.NAME in float32 or as the policy packs them: with the live weights all that a
  // resumed run needs.
  virtual WeightSnapshot optimizer_state() const = 0;
  // On several ranks rank 0's is whole; the others' may not be read.
  // Restores them bit for bit and publishes. Throws CheckpointError naming the tensor that is missing or misshapen.
  virtual void restore_optimizer_state(const WeightSnapshot& state) = 0;
  virtual WeightDigest digest() const = 0;  // of the live weights
};

class PolicyModel : public ScoringModel, public TrainedModel {
 public:
  // Mixtures of experts; a model without experts takes 0 only (ConfigError otherwise).
  // Backward passes add weight * the balance loss of each sequence and layer.
  virtual void set_balance_loss(double weight);
  virtual double take_balance_loss() { return 0; }           // what these passes added, since the last call
  virtual ExpertLoad take_expert_load() { return {}; }       // of forward passes, since the last call
  virtual void update_correction_biases(const ExpertLoad& load, double speed);  // Transformer's call of this name
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
