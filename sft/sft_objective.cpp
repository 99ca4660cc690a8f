#include "sft/sft_objective.h"

#include <cmath>
#include <utility>

#include "core/error.h"
#include "rl/packing.h"
#include "sft/held_out.h"

namespace r1 {
namespace {

TrainSample sample_of(const SftExample& e, std::uint64_t group) {
  TrainSample s;
  s.name = e.name;
  s.tokens = e.tokens;
  s.group = group;
  s.loss_mask = e.loss_mask;
  s.behavior_logprobs.assign(e.tokens.size(), 0.f);
  s.advantages.assign(e.tokens.size(), 0.f);
  return s;
}

std::int64_t rows_of(const TrainSample& s) { return std::ssize(s.tokens) - 1; }  // the last token predicts nothing

}  // namespace

SftObjective::SftObjective(PolicyModel& policy, std::vector<SftExample> train, std::vector<SftExample> held_out, const Ranks* ranks)
    : policy_(policy), ranks_(ranks ? *ranks : one_process_), train_(std::move(train)) {
  for (const SftExample& e : held_out) held_out_.push_back(sample_of(e, held_out_.size()));
}

std::vector<std::int64_t> SftObjective::begin_update(std::int64_t, std::span<const std::int64_t> examples) {
  update_.clear();
  update_tokens_ = 0;
  sums_ = {};
  std::vector<std::int64_t> rows;
  for (const std::int64_t i : examples) {
    const SftExample& e = train_[static_cast<std::size_t>(i)];
    update_.push_back(sample_of(e, update_.size()));
    update_tokens_ += trained_tokens(e);
    rows.push_back(rows_of(update_.back()));
  }
  policy_.set_prediction_loss(prediction_factor_ / static_cast<double>(update_tokens_));
  return rows;
}

void SftObjective::pass(std::span<const TrainSample> examples, std::span<const std::int32_t> places, double weight, Sums& sums) {
  const MicroBatch batch = build_micro_batch(examples, places);
  const bool train = weight != 0;
  const LogprobRows rows = train ? policy_.forward(batch.batch, 1.f, true) : policy_.evaluate(batch.batch, 1.f, true);
  sums.tokens += std::ssize(batch.tokens);
  sums.knows_right = sums.knows_right && !rows.top_logprobs.empty();
  for (std::size_t i = 0; i < batch.tokens.size(); ++i) {
    if (!std::isfinite(rows.logprobs[i]))
      throw NumericError(message("log-probability ", rows.logprobs[i], " of token ", batch.tokens[i].position, " of example ",
                                 examples[static_cast<std::size_t>(batch.tokens[i].sample)].name));
    sums.nll -= rows.logprobs[i];
    sums.entropy += rows.entropies[i];
    sums.right += sums.knows_right && rows.logprobs[i] == rows.top_logprobs[i];
  }
  if (!train) return;
  policy_.backward(std::vector<float>(batch.tokens.size(), static_cast<float>(-weight)), {});
  const PredictionLoss ahead = policy_.take_prediction_loss();
  sums.ahead += ahead.sum, sums.ahead_rows += ahead.rows;
}

void SftObjective::train(std::span<const std::int32_t> places) { pass(update_, places, 1 / static_cast<double>(update_tokens_), sums_); }

Metrics SftObjective::metrics_of(const Sums& s, const std::string& prefix) {
  const auto n = static_cast<double>(s.tokens);
  Metrics out = {{prefix + "loss", s.nll / n}, {prefix + "entropy", s.entropy / n}};
  if (s.knows_right) out[prefix + "mean_token_accuracy"] = static_cast<double>(s.right) / n;
  return out;
}

Metrics SftObjective::report() {
  Metrics out = metrics_of(sums_, "");
  out["train/trained_tokens"] = static_cast<double>(update_tokens_);
  if (sums_.ahead_rows > 0) out["mtp_loss"] = sums_.ahead / static_cast<double>(sums_.ahead_rows);
  return out;
}

Metrics SftObjective::evaluate(std::int64_t budget) {
  std::vector<std::int64_t> rows;
  for (const TrainSample& s : held_out_) rows.push_back(rows_of(s));
  const Sums sums = over_lanes<Sums>(ranks_, split_rows(rows, ranks_.lanes()), rows, budget,
                                     [&](std::span<const std::int32_t> part, Sums& s) { pass(held_out_, part, 0, s); });
  Metrics out = metrics_of(sums, "eval/");
  out["eval/num_tokens"] = static_cast<double>(sums.tokens);
  return out;
}

}  // namespace r1
