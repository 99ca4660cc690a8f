#include "sft/sft_learner.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/signals.h"
#include "rl/memory_retry.h"
#include "sft/packing.h"

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

std::int64_t tokens_of(std::span<const SftExample* const> batch) {
  std::int64_t n = 0;
  for (const SftExample* e : batch) n += trained_tokens(*e);
  return n;
}

std::string names_of(std::span<const SftExample* const> batch, std::span<const std::int32_t> part) {
  constexpr std::size_t kShown = 8;
  std::string out;
  for (std::size_t i = 0; i < part.size() && i < kShown; ++i) out += (i ? ", " : "") + batch[static_cast<std::size_t>(part[i])]->name;
  if (part.size() > kShown) out += message(" and ", part.size() - kShown, " more");
  return out;
}

}  // namespace

// Over trained tokens.
struct SftLearner::Sums {
  double nll = 0, entropy = 0;
  std::int64_t tokens = 0, rows = 0, right = 0;
  bool knows_right = true;

  void add(const Sums& o) {
    nll += o.nll, entropy += o.entropy, tokens += o.tokens, rows += o.rows, right += o.right;
    knows_right = knows_right && o.knows_right;
  }
  void report(const std::string& prefix, std::map<std::string, double>& m) const {
    const auto n = static_cast<double>(tokens);
    m[prefix + "loss"] = nll / n;
    m[prefix + "entropy"] = entropy / n;
    if (knows_right) m[prefix + "mean_token_accuracy"] = static_cast<double>(right) / n;
  }
};

MicroBatchPlan SftLearner::plan(std::span<const SftExample* const> batch) const {
  std::vector<std::int64_t> rows;
  for (const SftExample* e : batch) rows.push_back(static_cast<std::int64_t>(e->tokens.size()) - 1);  // the last token predicts nothing
  return pack_best_fit(rows, options_.tokens_per_micro_batch);
}

SftLearner::Sums SftLearner::pass(std::span<const SftExample* const> batch, std::span<const std::int32_t> part, double denominator, bool train) {
  std::vector<TrainSample> samples;
  std::vector<std::int32_t> all;
  for (std::int32_t i : part) {
    all.push_back(static_cast<std::int32_t>(samples.size()));
    samples.push_back(sample_of(*batch[static_cast<std::size_t>(i)], samples.size()));
  }
  const MicroBatch mb = build_micro_batch(samples, all);
  const LogprobRows rows = train ? policy_.forward(mb.batch, 1.f, true) : policy_.evaluate(mb.batch, 1.f, true);
  Sums out;
  out.tokens = static_cast<std::int64_t>(mb.tokens.size());
  out.rows = static_cast<std::int64_t>(mb.batch.tokens.size());
  out.knows_right = !rows.top_logprobs.empty();
  for (std::size_t i = 0; i < mb.tokens.size(); ++i) {
    if (!std::isfinite(rows.logprobs[i]))
      throw NumericError(message("log-probability ", rows.logprobs[i], " of token ", mb.tokens[i].position, " of example ",
                                 samples[static_cast<std::size_t>(mb.tokens[i].sample)].name, " after ", version(), " updates"));
    out.nll -= rows.logprobs[i];
    out.entropy += rows.entropies[i];
    out.right += out.knows_right && rows.logprobs[i] == rows.top_logprobs[i];
  }
  if (train) policy_.backward(std::vector<float>(mb.tokens.size(), static_cast<float>(-1 / denominator)), {});
  return out;
}

template <class Work>
auto SftLearner::retried(std::span<const SftExample* const> batch, Work&& work) -> decltype(work()) {
  const auto alone = [&] {
    const MicroBatchPlan parts = plan(batch);
    return std::all_of(parts.begin(), parts.end(), [](const auto& part) { return part.size() < 2; });
  };
  return halving_micro_batches(options_.tokens_per_micro_batch, static_cast<std::int64_t>(version()) + 1, alone,
                               "set train.recompute: true or lower data.max_length", work);
}

StepReport SftLearner::update(std::span<const SftExample* const> batch) {
  R1_CHECK(!batch.empty(), "an update without an example");
  const std::int64_t before = options_.tokens_per_micro_batch;
  StepReport report = retried(batch, [&] { return update_once(batch); });
  if (options_.tokens_per_micro_batch != before) report.metrics["train/out_of_memory"] = 1;
  return report;
}

StepReport SftLearner::update_once(std::span<const SftExample* const> batch) {
  const auto denominator = static_cast<double>(tokens_of(batch));
  const MicroBatchPlan parts = plan(batch);
  policy_.zero_gradient();
  policy_.set_balance_loss(options_.router.balance_loss / static_cast<double>(batch.size()));
  policy_.set_prediction_loss(options_.prediction_loss / denominator);
  Sums sums;
  for (const auto& part : parts) sums.add(pass(batch, part, denominator, true));
  UpdateStats stats;
  try {
    stats = optimizer_.step(policy_);
  } catch (const BadGradient&) {
    blame_gradient(batch, parts, denominator);
  }
  StepReport report;
  report.updated = true;
  sums.report("", report.metrics);
  policy_.finish_experts(options_.router.bias_update, report.metrics);
  if (const PredictionLoss ahead = policy_.take_prediction_loss(); ahead.rows > 0)
    report.metrics["mtp_loss"] = ahead.sum / static_cast<double>(ahead.rows);
  report.metrics["grad_norm"] = stats.grad_norm;
  report.metrics["grad_clip_scale"] = stats.clip_scale;
  report.metrics["learning_rate"] = stats.learning_rate;
  report.metrics["train/samples"] = static_cast<double>(batch.size());
  report.metrics["train/trained_tokens"] = denominator;
  report.metrics["train/rows"] = static_cast<double>(sums.rows);
  report.metrics["train/micro_batches"] = static_cast<double>(parts.size());
  report.metrics["train/tokens_per_micro_batch"] = static_cast<double>(options_.tokens_per_micro_batch);
  return report;
}

std::map<std::string, double> SftLearner::evaluate(std::span<const SftExample* const> examples) {
  return retried(examples, [&] {
    Sums sums;
    for (const auto& part : plan(examples)) {
      throw_if_stopped();
      sums.add(pass(examples, part, 1, false));
    }
    std::map<std::string, double> out;
    sums.report("eval/", out);
    out["eval/num_tokens"] = static_cast<double>(sums.tokens);
    return out;
  });
}

void SftLearner::blame_gradient(std::span<const SftExample* const> batch, const MicroBatchPlan& parts, double denominator) {
  // The sum is spoilt: run the micro-batches again, one by one.
  for (std::size_t i = 0; i < parts.size(); ++i) {
    policy_.zero_gradient();
    pass(batch, parts[i], denominator, true);
    if (const auto bad = policy_.find_non_finite(ParameterPart::kGradient))
      throw NumericError(message("the gradient of ", bad->tensor, " is ", bad->value, " at element ", bad->element, " in update ", version() + 1,
                                 ", micro-batch ", i + 1, " of ", parts.size(), " (examples ", names_of(batch, parts[i]),
                                 "); the weights are still those before it"));
  }
  throw NumericError(
      message("the gradient of update ", version() + 1, " overflows when its ", parts.size(), " micro-batches are summed; lower sft.learning_rate"));
}

WeightSnapshot SftLearner::state() const {
  WeightSnapshot out = policy_.optimizer_state();
  out.version = version();
  return out;
}

void SftLearner::restore(const WeightSnapshot& state, std::int64_t updates) {
  policy_.restore_optimizer_state(state);
  optimizer_.set_updates(updates);
}

}  // namespace r1
