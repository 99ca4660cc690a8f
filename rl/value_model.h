// A scalar for a position of a text: the critic of PPO, a reward model. A head (a [D] vector, perhaps a bias) on the final
// normed hidden states of a backbone, trained together with it.
#pragma once

#include <span>
#include <vector>

#include "core/error.h"
#include "model/transformer.h"
#include "rl/parameter_arena.h"
#include "rl/policy.h"
#include "rl/scalar_head.h"

namespace r1 {

// score(row) = head . hidden(row) + bias, of what the model has read up to that row of the batch (the row's token included).
// A batch's predictors and targets play no part. Not thread-safe.
class ValueModel : public TrainedModel {
 public:
  // Scores of the chosen rows [n], keeping nothing. Rows may repeat.
  virtual std::vector<float> evaluate(const PackedBatch& batch, std::span<const std::int32_t> rows) = 0;
  // The same bits, keeping what backward() needs.
  virtual std::vector<float> forward(const PackedBatch& batch, std::span<const std::int32_t> rows) = 0;
  // After forward(): adds the gradient of sum_i d_scores[i] scores[i] to the gradients of head and backbone.
  virtual void backward(std::span<const float> d_scores) = 0;
  // Views of the live weights: the backbone's HF names, and the head's as HF's ...ForSequenceClassification has them:
  // score.weight [1,D], score.bias [1] (float32).
  virtual WeightSnapshot weights(WeightVersion version) const = 0;
  // All of these. Throws CheckpointError naming a tensor that is missing or misshapen, the head's included.
  virtual void load(const WeightSnapshot& weights) = 0;
  // The head alone, of a scorer's weights. Throws CheckpointError as load() does.
  virtual void load_head(const WeightSnapshot&) { throw CheckpointError("this model has no scalar head to load"); }
  // The head's live values, weight [D] and then a bias if it has one; empty for a model that has no such head.
  virtual std::span<const float> head() const { return {}; }
};

// weight [D] . hidden [n][D] + bias, float64 sums: [n].
std::vector<float> head_scores(std::span<const float> hidden, std::span<const float> weight, float bias = 0.f);

class TransformerValue : public ValueModel {
 public:
  struct Options {
    bool recompute = true;  // gradient checkpointing: keep each layer's input only
    MasterStart master_start = MasterStart::kExact;
    double head_std = 0;    // the head starts at N(0, head_std); 0: every score starts at 0 (the backbone learns from the second update on)
    std::uint64_t seed = 0; // of that draw
    bool bias = false;      // HF's sequence classifiers have none
    // kGradient: somebody else changes the backbone (LoRA); norm, step and state are then those of the head alone.
    ArenaParts parts = ArenaParts::kAll;
  };
  // Backbone weights of its own, loaded already; the transformer outlives it and is used by nobody else.
  TransformerValue(Transformer& backbone, const Options& options);

  std::vector<float> evaluate(const PackedBatch& batch, std::span<const std::int32_t> rows) override;
  std::vector<float> forward(const PackedBatch& batch, std::span<const std::int32_t> rows) override;
  void backward(std::span<const float> d_scores) override;
  void zero_gradient() override;
  double gradient_sum_of_squares() override;
  std::vector<float> gradient() const override;  // backbone arena, then weight, then bias
  void adamw(const AdamWStep& step) override;
  std::optional<NonFinite> find_non_finite(ParameterPart part) override;
  WeightSnapshot optimizer_state() const override;
  void restore_optimizer_state(const WeightSnapshot& state) override;
  WeightSnapshot weights(WeightVersion version) const override;
  void load(const WeightSnapshot& weights) override;
  WeightDigest digest() const override;
  void join(Session& session, int zero) override;
  void close_lane() override;
  void finish_gradient() override;
  void load_head(const WeightSnapshot& weights) override;
  std::span<const float> head() const override { return head_.values(); }

  ParameterArena& arena() { return arena_; }  // of the backbone

 private:
  bool whole() const { return options_.parts == ArenaParts::kAll; }
  std::vector<float> scores(std::span<const float> hidden) const;
  Transformer& model_;
  Options options_;
  ScalarHead head_;
  ParameterArena arena_;
  std::vector<float> hidden_;                // [n][D] of the last forward()
};

}  // namespace r1
