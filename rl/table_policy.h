// A policy small enough to check by hand: a table of logits, one row per context, where the context is the last token.
// Bandits and toy chains for tests and examples run on it through the real learner and trainer.
#pragma once

#include <algorithm>
#include <memory>
#include <mutex>
#include <type_traits>
#include <vector>

#include "rl/parameter_arena.h"
#include "rl/policy.h"
#include "rollout/engine.h"

namespace r1 {

class TablePolicy : public PolicyModel {
 public:
  // `vocab` tokens; logits start at 0. The pool outlives it.
  TablePolicy(std::int32_t vocab, ComputePool& pool);

  std::int32_t vocab() const { return vocab_; }
  // ln p(. | context) at this temperature, float64 arithmetic.
  std::vector<double> log_distribution(TokenId context, float temperature) const;
  std::span<float> logits() { return arena_.master(); }  // [context][token], change before the first step only

  LogprobRows evaluate(const PackedBatch& batch, float temperature, bool want_entropies) override;
  LogprobRows forward(const PackedBatch& batch, float temperature, bool want_entropies) override;
  void backward(std::span<const float> d_logprobs, std::span<const float> d_entropies) override;
  void zero_gradient() override { arena_.zero_gradient(); }
  double gradient_sum_of_squares() override { return arena_.gradient_sum_of_squares(); }
  std::vector<float> gradient() const override { return {arena_.gradient().begin(), arena_.gradient().end()}; }
  void adamw(const AdamWStep& step) override { arena_.adamw(step); }
  std::optional<NonFinite> find_non_finite(ParameterPart part) override { return arena_.find_non_finite(part); }
  WeightSnapshot optimizer_state() const override { return arena_.state(); }
  void restore_optimizer_state(const WeightSnapshot& state) override { arena_.restore(state); }
  void join(Session& session, int zero) override { arena_.join(session, std::min(zero, 1)); }
  void close_lane() override { arena_.close_lane(); }
  void finish_gradient() override { arena_.finish_gradient(); }
  WeightSnapshot weights(WeightVersion version) const override;  // one tensor, "table" [vocab][vocab]
  void load(const WeightSnapshot& weights) override;
  WeightDigest digest() const override;

 private:
  LiveWeights live();
  std::int32_t vocab_;
  std::vector<Parameter> parameters_;
  std::vector<float> table_;
  ParameterArena arena_;
  PackedBatch batch_;  // of the last forward()
  float temperature_ = 1;
};

// Samples from a TablePolicy's present weights with the engine's draws. Ends a completion at `eos`.
class TableEngine : public RolloutEngine {
 public:
  TableEngine(const TablePolicy& policy, TokenId eos) : policy_(policy), eos_(eos) {}
  // `own` is the engine's: load_weights() fills it.
  TableEngine(TablePolicy& own, TokenId eos, std::true_type) : policy_(own), own_(&own), eos_(eos) {}

  RequestId submit(RolloutRequest request) override;
  void cancel(RequestId id) override;
  void wait(const std::function<void(RolloutEvent&&)>& on_event, bool stream = false) override;
  void load_weights(const WeightSnapshot& snapshot) override;
  WeightVersion weight_version() const override { return version_; }
  EngineStats stats() const override { return stats_; }

 private:
  Completion sample(const RolloutRequest& request, int sample) const;
  const TablePolicy& policy_;
  TablePolicy* own_ = nullptr;
  TokenId eos_;
  WeightVersion version_ = 0;
  RequestId next_ = 1;
  struct Pending {
    RequestId id = 0;
    RolloutRequest request;
    bool cancelled = false;
  };
  std::mutex mutex_;  // guards queue_
  std::vector<Pending> queue_;
  EngineStats stats_;
};

}  // namespace r1
