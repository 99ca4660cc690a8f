#include "preference/reward_objective.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "core/metrics.h"
#include "preference/preference_loss.h"
#include "rl/statistics.h"
#include "sft/held_out.h"

namespace r1 {

RewardObjective::RewardObjective(ValueModel& model, PreferenceSet train, PreferenceSet held_out, const RewardOptions& options, const Ranks* ranks)
    : model_(model), ranks_(ranks ? *ranks : one_process_), train_(std::move(train)), held_out_(std::move(held_out)), options_(options) {
  R1_CHECK(held_out_.size() == 0 || held_out_.pairs == train_.pairs, "training and held-out examples are of different kinds");
}

std::vector<std::int64_t> RewardObjective::begin_update(std::int64_t, std::span<const std::int64_t> examples) {
  examples_.assign(examples.begin(), examples.end());
  sums_ = {};
  return rows_of(train_, examples);
}

std::vector<float> RewardObjective::judge(const PreferenceSet& set, const MicroBatch& batch, std::span<const float> scores, std::int64_t update_size,
                                          Sums& sums) const {
  R1_CHECK(scores.size() == batch.samples.size(), scores.size(), " scores of ", batch.samples.size(), " answers");
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (!std::isfinite(scores[i]))
      throw NumericError(message("the score of ", set.samples[static_cast<std::size_t>(batch.samples[i])].name, " is ", scores[i]));
    const double s = scores[i];
    sums.least = sums.scores == 0 ? s : std::min(sums.least, s);
    sums.most = sums.scores == 0 ? s : std::max(sums.most, s);
    sums.score += s;
    ++sums.scores;
  }
  std::vector<float> gradient;
  if (set.pairs) {
    std::vector<double> chosen, rejected;
    for (std::size_t i = 0; i < scores.size(); i += 2) {
      chosen.push_back(scores[i]), rejected.push_back(scores[i + 1]);
      sums.right += scores[i] > scores[i + 1];
      sums.margin += chosen.back() - rejected.back();
      ++sums.examples;
    }
    const PairLoss loss = bradley_terry_loss(chosen, rejected, options_.centring, update_size);
    sums.loss += loss.loss;
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      gradient.push_back(static_cast<float>(loss.d_chosen[i]));
      gradient.push_back(static_cast<float>(loss.d_rejected[i]));
    }
    return gradient;
  }
  std::vector<double> values(scores.begin(), scores.end()), labels;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    labels.push_back(set.labels[static_cast<std::size_t>(batch.samples[i])]);
    sums.right += (scores[i] > 0) == (labels[i] > 0.5);
    ++sums.examples;
  }
  const PointLoss loss = pointwise_loss(values, labels, update_size);
  sums.loss += loss.loss;
  gradient.assign(loss.d_scores.begin(), loss.d_scores.end());
  return gradient;
}

void RewardObjective::train(std::span<const std::int32_t> places) {
  const MicroBatch batch = build_micro_batch(train_.samples, samples_of(train_, at_places(examples_, places)));
  const std::vector<float> scores = model_.forward(batch.batch, batch.batch.predictors);
  model_.backward(judge(train_, batch, scores, static_cast<std::int64_t>(examples_.size()), sums_));
}

Metrics RewardObjective::metrics_of(const Sums& s, bool pairs, const std::string& prefix) {
  const auto n = static_cast<double>(s.examples);
  Metrics out = {{prefix + "loss", s.loss}, {prefix + "accuracy", s.right / n}, {prefix + "min_reward", s.least},
                 {prefix + "mean_reward", s.score / static_cast<double>(s.scores)}, {prefix + "max_reward", s.most}};
  if (pairs) out[prefix + "margin"] = s.margin / n;
  return out;
}

Metrics RewardObjective::report() { return metrics_of(sums_, train_.pairs, ""); }

Metrics RewardObjective::evaluate(std::int64_t budget) {
  const std::int64_t n = held_out_.size();
  std::vector<std::int64_t> all(static_cast<std::size_t>(n));
  std::iota(all.begin(), all.end(), std::int64_t{0});
  const std::vector<std::int64_t> rows = rows_of(held_out_, all);
  const auto lanes = split_rows(rows, ranks_.lanes());
  const std::size_t answers = held_out_.pairs ? 2 : 1;
  PerSample values(static_cast<std::size_t>(n));  // [example][answer]
  const Sums sums = over_lanes<Sums>(ranks_, lanes, rows, budget, [&](std::span<const std::int32_t> part, Sums& s) {
    const MicroBatch batch = build_micro_batch(held_out_.samples, samples_of(held_out_, at_places(all, part)));
    const std::vector<float> scores = model_.evaluate(batch.batch, batch.batch.predictors);
    judge(held_out_, batch, scores, n, s);
    for (std::size_t i = 0; i < scores.size(); i += answers)
      values[static_cast<std::size_t>(batch.samples[i]) / answers].assign(scores.begin() + static_cast<std::ptrdiff_t>(i),
                                                                          scores.begin() + static_cast<std::ptrdiff_t>(i + answers));
  });
  ranks_.gather_values(values, ranks_.by_rank(lanes), "held-out scores");
  scored_.clear();
  std::map<std::vector<TokenId>, std::pair<double, double>> by_prompt;  // pairs right, pairs
  Statistics margins;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const TrainSample& s = held_out_.samples[i * answers];
    const std::vector<float>& scores = values[i];
    scored_.push_back({s.name, {scores.begin(), scores.end()}, held_out_.pairs ? 1.0 : held_out_.labels[i]});
    if (!held_out_.pairs) continue;
    auto& [right, pairs] = by_prompt[{s.tokens.begin(), s.tokens.begin() + s.prompt_length}];
    right += scores[0] > scores[1], pairs += 1;
    margins.add(double{scores[0]} - scores[1]);
  }
  Metrics out = metrics_of(sums, held_out_.pairs, "eval/");
  const Interval accuracy = wilson_interval(std::llround(sums.right), n);
  out["eval/accuracy_low"] = accuracy.low, out["eval/accuracy_high"] = accuracy.high;
  if (!held_out_.pairs) return out;
  std::vector<double> prompts;
  for (const auto& [prompt, counts] : by_prompt) prompts.push_back(counts.first / counts.second);
  const Interval over_prompts = bootstrap_mean(prompts, 0);
  out["eval/prompt_accuracy"] = mean_of(prompts);
  out["eval/prompt_accuracy_low"] = over_prompts.low, out["eval/prompt_accuracy_high"] = over_prompts.high;
  out["eval/margin_std"] = margins.std();
  return out;
}

std::vector<float> score_samples(EvaluateRows evaluate, std::span<const TrainSample> samples, std::int64_t budget) {
  std::vector<std::int32_t> all(samples.size());
  std::iota(all.begin(), all.end(), 0);
  std::vector<float> out(samples.size());
  for (const auto& part : plan_micro_batches(samples, all, budget)) {
    const MicroBatch batch = build_micro_batch(samples, part);
    const std::vector<float> scores = evaluate(batch.batch, batch.batch.predictors);
    for (std::size_t i = 0; i < scores.size(); ++i) out[static_cast<std::size_t>(batch.tokens[i].sample)] = scores[i];
  }
  return out;
}

}  // namespace r1
