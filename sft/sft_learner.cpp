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

std::int64_t rows_of(const SftExample& e) { return static_cast<std::int64_t>(e.tokens.size()) - 1; }  // the last token predicts nothing

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
  std::int64_t tokens = 0, rows = 0, right = 0, passes = 0;
  bool knows_right = true;

  void add(const Sums& o) {
    nll += o.nll, entropy += o.entropy, tokens += o.tokens, rows += o.rows, right += o.right, passes += o.passes;
    knows_right = knows_right && o.knows_right;
  }
  void report(const std::string& prefix, std::map<std::string, double>& m) const {
    const auto n = static_cast<double>(tokens);
    m[prefix + "loss"] = nll / n;
    m[prefix + "entropy"] = entropy / n;
    if (knows_right) m[prefix + "mean_token_accuracy"] = static_cast<double>(right) / n;
  }
};

MicroBatchPlan SftLearner::plan(std::span<const SftExample* const> batch, std::span<const std::int32_t> chosen) const {
  std::vector<std::int64_t> rows;
  for (std::int32_t i : chosen) rows.push_back(rows_of(*batch[static_cast<std::size_t>(i)]));
  MicroBatchPlan out = pack_best_fit(rows, options_.tokens_per_micro_batch);
  for (auto& part : out)
    for (std::int32_t& i : part) i = chosen[static_cast<std::size_t>(i)];
  return out;
}

std::vector<MicroBatchPlan> SftLearner::lane_plans(std::span<const SftExample* const> batch) const {
  std::vector<std::int64_t> rows;
  for (const SftExample* e : batch) rows.push_back(rows_of(*e));
  std::vector<MicroBatchPlan> out;
  for (const auto& lane : split_rows(rows, ranks_.lanes())) out.push_back(plan(batch, lane));
  return out;
}

SftLearner::Sums SftLearner::total(std::span<const Sums> mine) const {
  Sums out;
  for (const std::string& bytes : ranks_.gather(bytes_of(mine), "the update's metrics"))
    for (const Sums& s : values_of<Sums>(bytes)) out.add(s);
  return out;
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
  out.passes = 1;
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
    const std::vector<MicroBatchPlan> lanes = lane_plans(batch);
    return std::all_of(lanes.begin(), lanes.end(), [](const auto& parts) { return std::all_of(parts.begin(), parts.end(), [](const auto& part) { return part.size() < 2; }); });
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
  const std::vector<MicroBatchPlan> lanes = lane_plans(batch);
  std::vector<Sums> mine;
  const auto train = [&] {
    policy_.zero_gradient();
    mine.clear();
    for (int lane = ranks_.first_lane(); lane < ranks_.last_lane(); ++lane) {
      mine.emplace_back();
      for (const auto& part : lanes[static_cast<std::size_t>(lane)]) mine.back().add(pass(batch, part, denominator, true));
      if (ranks_.lanes() > 1) policy_.close_lane();
    }
  };
  if (policy_.backward_is_collective()) {
    train();
    ranks_.absent_passes(lanes, [&] { policy_.absent_backward(); });
  } else {
    ranks_.agree("the backward pass", train);
  }
  const Sums sums = total(mine);
  UpdateStats stats;
  try {
    stats = optimizer_.step(policy_);
  } catch (const BadGradient&) {
    blame_gradient(batch, denominator);
  }
  StepReport report;
  report.updated = true;
  sums.report("", report.metrics);
  report.metrics["grad_norm"] = stats.grad_norm;
  report.metrics["grad_clip_scale"] = stats.clip_scale;
  report.metrics["learning_rate"] = stats.learning_rate;
  report.metrics["train/samples"] = static_cast<double>(batch.size());
  report.metrics["train/trained_tokens"] = denominator;
  report.metrics["train/rows"] = static_cast<double>(sums.rows);
  report.metrics["train/micro_batches"] = static_cast<double>(sums.passes);
  report.metrics["train/tokens_per_micro_batch"] = static_cast<double>(options_.tokens_per_micro_batch);
  return report;
}

std::map<std::string, double> SftLearner::evaluate(std::span<const SftExample* const> examples) {
  return retried(examples, [&] {
    std::vector<Sums> mine;
    ranks_.agree("validation", [&] {
      const std::vector<MicroBatchPlan> lanes = lane_plans(examples);
      for (int lane = ranks_.first_lane(); lane < ranks_.last_lane(); ++lane) {
        mine.emplace_back();
        for (const auto& part : lanes[static_cast<std::size_t>(lane)]) {
          throw_if_stopped();
          mine.back().add(pass(examples, part, 1, false));
        }
      }
    });
    const Sums sums = total(mine);
    std::map<std::string, double> out;
    sums.report("eval/", out);
    out["eval/num_tokens"] = static_cast<double>(sums.tokens);
    return out;
  });
}

void SftLearner::blame_gradient(std::span<const SftExample* const> batch, double denominator) {
  // The sum is spoilt: run the micro-batches again, one by one. (A sharded gradient is looked at while it is made.)
  if (!policy_.backward_is_collective()) {
    const std::vector<MicroBatchPlan> lanes = lane_plans(batch);
    for (int lane = ranks_.first_lane(); lane < ranks_.last_lane(); ++lane) {
      const MicroBatchPlan& parts = lanes[static_cast<std::size_t>(lane)];
      for (std::size_t i = 0; i < parts.size(); ++i) {
        policy_.zero_gradient();
        pass(batch, parts[i], denominator, true);
        if (const auto bad = policy_.find_non_finite(ParameterPart::kGradient))
          throw NumericError(message("the gradient of ", bad->tensor, " is ", bad->value, " at element ", bad->element, " in update ", version() + 1,
                                     ", micro-batch ", i + 1, " of ", parts.size(), " (examples ", names_of(batch, parts[i]),
                                     "); the weights are still those before it"));
      }
    }
  }
  if (!ranks_.alone()) ranks_.comm().barrier("the search for a bad gradient");  // a rank that found it does not come
  throw NumericError(message("the gradient of update ", version() + 1, " overflows when its micro-batches are summed; lower sft.learning_rate"));
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
