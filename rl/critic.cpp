#include "rl/critic.h"

#include <cmath>
#include <cstring>
#include <numeric>

#include "core/error.h"
#include "rl/gae.h"
#include "rl/train_samples.h"

namespace r1 {
namespace {

constexpr const char *kPrefix = "critic.", *kValues = "rollout.values";

// How much of the returns' spread the values explain: 1 - var(return - value) / var(return).
class Explained {
 public:
  void add(double value, double target) {
    n_ += 1, value_ += value, target_ += target, target2_ += target * target;
    error_ += target - value, error2_ += (target - value) * (target - value);
  }
  void merge(const Explained& o) {
    n_ += o.n_, value_ += o.value_, target_ += o.target_, target2_ += o.target2_, error_ += o.error_, error2_ += o.error2_;
  }
  void report(std::map<std::string, double>& m) const {
    const double var = target2_ / n_ - target_ / n_ * (target_ / n_), left = error2_ / n_ - error_ / n_ * (error_ / n_);
    m["critic/value_mean"] = value_ / n_;
    m["critic/return_mean"] = target_ / n_;
    if (var > 1e-12) m["critic/explained_variance"] = 1 - left / var;
  }

 private:
  double n_ = 0, value_ = 0, target_ = 0, target2_ = 0, error_ = 0, error2_ = 0;
};

}  // namespace

void Critic::begin_rollout(std::span<const TrainSample> samples, std::int64_t token_budget) {
  values_.assign(samples.size(), {});
  returns_.assign(samples.size(), {});
  std::vector<std::int32_t> all(samples.size());
  std::iota(all.begin(), all.end(), 0);
  const auto shares = ranks().shares(samples, all);
  for (const auto& part : plan_micro_batches(samples, shares[static_cast<std::size_t>(ranks().rank())], token_budget)) {
    const MicroBatch mb = build_micro_batch(samples, part);
    const std::vector<float> v = model_.evaluate(mb.batch, mb.batch.predictors);
    for (std::int32_t i : part) values_[i].assign(samples[i].tokens.size(), 0.f);
    for (std::size_t k = 0; k < mb.tokens.size(); ++k) {
      const auto [sample, position] = mb.tokens[k];
      if (!std::isfinite(v[k]))
        throw NumericError(message("the critic's value of token ", position, " of sample ", samples[sample].name, " is ", v[k]));
      values_[sample][position] = v[k];
    }
  }
  ranks().gather_values(values_, shares, "values");
}

void Critic::set_advantages(std::span<TrainSample> samples, std::span<const std::vector<float>> ref, double beta) {
  for (std::size_t i = 0; i < samples.size(); ++i) {
    TrainSample& s = samples[i];
    std::vector<std::size_t> at;  // trained tokens
    for (std::size_t t = 0; t < s.tokens.size(); ++t)
      if (s.loss_mask[t]) at.push_back(t);
    if (at.empty()) continue;
    std::vector<double> rewards(at.size(), 0.0), values;
    for (std::size_t t : at) values.push_back(values_[i][t]);
    for (std::size_t k = 0; k < at.size() && beta != 0; ++k) rewards[k] -= beta * (double{s.behavior_logprobs[at[k]]} - ref[i][at[k]]);
    rewards.back() += s.advantages[at.back()];
    const GaeResult g = gae(rewards, values, options_.gamma, options_.lambda);
    returns_[i].assign(s.tokens.size(), 0.f);
    for (std::size_t k = 0; k < at.size(); ++k) {
      s.advantages[at[k]] = static_cast<float>(g.advantages[k]);
      returns_[i][at[k]] = static_cast<float>(g.returns[k]);
    }
  }
}

void Critic::update(std::span<const TrainSample> samples, std::span<const std::int32_t> chosen, std::int64_t token_budget,
                    std::map<std::string, double>& metrics) {
  std::int64_t tokens = 0;
  for (std::int32_t i : chosen) tokens += trained_tokens(samples[i]);
  if (tokens == 0) return;
  struct Sums {
    Explained explained;
    double loss = 0, clipped = 0;
  };
  std::vector<Sums> lane_sums;
  const auto forward_backward = [&](std::span<const std::int32_t> part) {
    const MicroBatch mb = build_micro_batch(samples, part);
    const std::vector<float> v = model_.forward(mb.batch, mb.batch.predictors), returns = at_tokens(returns_, mb.tokens);
    const ValueLossOutput out = value_loss(v, at_tokens(values_, mb.tokens), returns, options_.value_clip, tokens);
    if (!std::isfinite(out.loss))
      throw NumericError(message("the critic's loss is ", out.loss, " in the micro-batch of samples ", names_of(samples, part)));
    model_.backward(out.d_values);
    lane_sums.back().loss += out.loss;
    lane_sums.back().clipped += static_cast<double>(out.clipped);
    for (std::size_t i = 0; i < v.size(); ++i) lane_sums.back().explained.add(v[i], returns[i]);
  };
  model_.zero_gradient();
  const auto lanes = split_lanes(samples, chosen, ranks().lanes());
  for (int lane = ranks().first_lane(); lane < ranks().last_lane(); ++lane) {
    lane_sums.emplace_back();
    model_.open_lane(lane);
    for (const auto& part : plan_micro_batches(samples, lanes[static_cast<std::size_t>(lane)], token_budget)) forward_backward(part);
    if (ranks().lanes() > 1) model_.close_lane();
  }
  Sums all;
  for (const std::string& bytes : ranks().gather(bytes_of(std::span<const Sums>(lane_sums)), "the critic's metrics"))
    for (const Sums& s : values_of<Sums>(bytes)) all.explained.merge(s.explained), all.loss += s.loss, all.clipped += s.clipped;
  metrics["critic/loss"] = all.loss;
  metrics["critic/clip_ratio"] = all.clipped / static_cast<double>(tokens);
  all.explained.report(metrics);
  try {
    const UpdateStats stats = optimizer_.step(model_);
    metrics["critic/grad_norm"] = stats.grad_norm;
    metrics["critic/learning_rate"] = stats.learning_rate;
  } catch (const BadGradient&) {
    const auto bad = model_.find_non_finite(ParameterPart::kGradient);
    throw NumericError(message("the critic's gradient of ", bad ? bad->tensor : "all tensors together", " is not finite in its update ",
                               optimizer_.updates() + 1, " (samples ", names_of(samples, chosen), "); its weights are still those before it"));
  }
}

void Critic::append_state(WeightSnapshot& out, std::span<const TrainSample> samples, bool inside_rollout) const {
  const WeightSnapshot own = model_.optimizer_state();
  for (TensorView t : own.tensors) {
    t.name = kPrefix + t.name;
    out.tensors.push_back(std::move(t));
  }
  if (own.owner) out.owner = std::make_shared<std::pair<std::shared_ptr<const void>, std::shared_ptr<const void>>>(out.owner, own.owner);
  if (!inside_rollout) return;
  packed_values_ = pack(values_, samples);
  out.tensors.push_back(float_view("critic.rollout.values", packed_values_));
}

void Critic::restore(const WeightSnapshot& state, std::int64_t updates, std::span<const TrainSample> samples, bool inside_rollout) {
  WeightSnapshot own{state.version, {}, state.owner};
  const TensorView* values = nullptr;
  for (const TensorView& t : state.tensors) {
    if (!t.name.starts_with(kPrefix)) continue;
    own.tensors.push_back(t);
    own.tensors.back().name = t.name.substr(std::strlen(kPrefix));
    if (own.tensors.back().name == kValues) values = &t;
  }
  if (own.tensors.empty()) throw CheckpointError("the checkpoint holds no critic, the recipe's advantage.kind gae needs one");
  model_.restore_optimizer_state(own);
  optimizer_.set_updates(updates);
  values_.assign(samples.size(), {});
  returns_.assign(samples.size(), {});
  if (!inside_rollout) return;
  if (!values) throw CheckpointError("the state lacks critic.rollout.values of the rollout in progress");
  values_ = unpack(*values, samples);
}

}  // namespace r1
