// A critic small enough to check by hand: one value for each last token read. Runs beside TablePolicy in tests.
#pragma once

#include <algorithm>
#include <vector>

#include "core/digest.h"
#include "core/error.h"
#include "rl/value_model.h"

namespace r1 {

class TableValue : public ValueModel {
 public:
  TableValue(std::int32_t vocab, ComputePool& pool)
      : parameters_{{"values", {1, vocab}, 0, vocab}}, table_(static_cast<std::size_t>(vocab), 0.f), arena_(live(), pool) {}

  std::span<float> table() { return table_; }

  std::vector<float> evaluate(const PackedBatch& batch, std::span<const std::int32_t> rows) override {
    std::vector<float> out;
    for (std::int32_t r : rows) out.push_back(table_.at(static_cast<std::size_t>(batch.tokens.at(static_cast<std::size_t>(r)))));
    return out;
  }
  std::vector<float> forward(const PackedBatch& batch, std::span<const std::int32_t> rows) override {
    contexts_.clear();
    for (std::int32_t r : rows) contexts_.push_back(batch.tokens.at(static_cast<std::size_t>(r)));
    return evaluate(batch, rows);
  }
  void backward(std::span<const float> d_scores) override {
    R1_CHECK(d_scores.size() == contexts_.size(), "gradients of ", d_scores.size(), " scores for ", contexts_.size(), " rows");
    for (std::size_t i = 0; i < d_scores.size(); ++i) arena_.gradient()[static_cast<std::size_t>(contexts_[i])] += d_scores[i];
  }
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
  WeightSnapshot weights(WeightVersion version) const override {
    return {version, {{"values", DType::kF32, parameters_[0].shape, reinterpret_cast<const std::byte*>(table_.data()), -1}}, nullptr};
  }
  void load(const WeightSnapshot& weights) override {
    if (weights.tensors.size() != 1 || weights.tensors[0].bytes() != table_.size() * 4) throw CheckpointError("these weights are no table of values");
    const auto* from = reinterpret_cast<const float*>(weights.tensors[0].data);
    std::copy(from, from + table_.size(), table_.begin());
  }
  WeightDigest digest() const override { return digest_of({reinterpret_cast<const char*>(table_.data()), table_.size() * sizeof(float)}); }

 private:
  LiveWeights live() {
    return {parameters_, reinterpret_cast<std::byte*>(table_.data()), DType::kF32, static_cast<std::int64_t>(table_.size())};
  }
  std::vector<Parameter> parameters_;
  std::vector<float> table_;
  ParameterArena arena_;
  std::vector<TokenId> contexts_;
};

}  // namespace r1
