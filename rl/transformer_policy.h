// PolicyModel and ScoringModel over r1::Transformer on the CPU.
#pragma once

#include "model/transformer.h"
#include "rl/parameter_arena.h"
#include "rl/policy.h"

namespace r1 {

// A transformer that several ranks run together (Transformer::parallel()) makes this a policy of their group: see rl/ranks.h.
// Shares the transformer, and so the live weights, with the rollout engine. The transformer outlives it.
class TransformerPolicy : public PolicyModel {
 public:
  struct Options {
    bool recompute = true;  // gradient checkpointing: keep each layer's input only
    MasterStart master_start = MasterStart::kExact;
    ArenaParts parts = ArenaParts::kAll;
  };
  TransformerPolicy(Transformer& model, Options options);
  explicit TransformerPolicy(Transformer& model) : TransformerPolicy(model, Options{}) {}

  LogprobRows evaluate(const PackedBatch& batch, float temperature, bool want_entropies) override;
  LogprobRows forward(const PackedBatch& batch, float temperature, bool want_entropies) override;
  void backward(std::span<const float> d_logprobs, std::span<const float> d_entropies) override;
  void train_logits(const PackedBatch& batch, Transformer::LogitLoss loss) override {
    model_.train_logits(batch, options_.recompute, loss, arena_.gradient());
  }
  void prepare_logits(const PackedBatch& batch) override { model_.prepare_logits(batch); }
  const float* logit_rows(std::int64_t first, std::int64_t count) override { return model_.logit_rows(first, count); }
  std::int64_t logit_stride() const override { return model_.config().vocab_size; }
  std::int64_t logit_ids() const override { return model_.vocab_limit(); }
  void set_balance_loss(double weight) override;
  double take_balance_loss() override { return model_.take_balance_loss(); }
  ExpertLoad take_expert_load() override { return model_.take_expert_load(); }
  void update_correction_biases(const ExpertLoad& load, double speed) override { model_.update_correction_biases(load, speed); }
  void set_prediction_loss(double weight) override;
  PredictionLoss take_prediction_loss() override { return model_.take_prediction_loss(); }
  void zero_gradient() override;
  double gradient_sum_of_squares() override;
  std::vector<float> gradient() const override { return {arena_.gradient().begin(), arena_.gradient().end()}; }
  void adamw(const AdamWStep& step) override;
  std::optional<NonFinite> find_non_finite(ParameterPart part) override { return arena_.find_non_finite(part); }
  WeightSnapshot optimizer_state() const override;  // and buffer.NAME of the tensors that are moved without a gradient
  void restore_optimizer_state(const WeightSnapshot& state) override;
  WeightSnapshot weights(WeightVersion version) const override {
    make_whole();
    return model_.weights().snapshot(version);
  }
  // Tensor parallel: whole tensors, on the group's first rank alone. Collective, as are optimizer_state() and digest(), which speak of
  // whole tensors too; weights() are this rank's parts.
  WeightSnapshot host_weights(WeightVersion version) const override;
  // The master becomes these weights, unrounded where they are float32; moments stay.
  void load(const WeightSnapshot& weights) override;
  WeightDigest digest() const override;

  void make_whole() const override;
  void join(Session& session, int zero) override;
  void join_experts(Session& session) override { arena_.share_out(session, held_alone()); }
  void close_lane() override { arena_.close_lane(); }
  void finish_gradient() override { arena_.finish_gradient(); }
  bool backward_is_collective() const override { return arena_.gradient_is_sharded(); }
  void absent_backward() override { model_.absent_pass(); }

  ParameterArena& arena() { return arena_; }

 private:
  void take_apart();
  std::vector<ElementRange> held_alone() const;  // of the arena: what no other rank of the group has
  Transformer& model_;
  Options options_;
  ParameterArena arena_;
};

// A frozen model with weights of its own: the reference of the KL term.
class TransformerReference : public ScoringModel {
 public:
  // The transformer outlives it and is used by nobody else.
  explicit TransformerReference(Transformer& model) : model_(model) {}
  LogprobRows evaluate(const PackedBatch& batch, float temperature, bool want_entropies) override {
    return model_.evaluate(batch, temperature, want_entropies);
  }
  void prepare_logits(const PackedBatch& batch) override { model_.prepare_logits(batch); }
  const float* logit_rows(std::int64_t first, std::int64_t count) override { return model_.logit_rows(first, count); }
  std::int64_t logit_stride() const override { return model_.config().vocab_size; }
  std::int64_t logit_ids() const override { return model_.vocab_limit(); }
  WeightSnapshot weights(WeightVersion version) const override { return model_.weights().snapshot(version); }
  WeightSnapshot host_weights(WeightVersion version) const override;  // as TransformerPolicy's
  void load(const WeightSnapshot& weights) override;

 private:
  Transformer& model_;
};

}  // namespace r1
