#include "rl/learner.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "rl/memory_retry.h"
#include "rl/minibatches.h"
#include "rl/token_advantages.h"
#include "rl/train_samples.h"
#include "rl/update_metrics.h"

namespace r1 {
namespace {

LossDenominator denominator_of(std::span<const TrainSample> samples, std::span<const std::int32_t> chosen,
                               std::int64_t budget) {
  LossDenominator d{0, 0, budget};
  for (std::int32_t i : chosen) {
    const std::int64_t n = trained_tokens(samples[i]);
    d.sequences += n > 0;
    d.tokens += n;
  }
  return d;
}

// Mean of ln behavior - ln ref over the trained tokens.
double mean_kl(std::span<const TrainSample> samples, const std::vector<std::vector<float>>& ref) {
  double sum = 0, n = 0;
  for (std::size_t i = 0; i < samples.size(); ++i)
    for (std::size_t t = 0; t < samples[i].tokens.size(); ++t)
      if (samples[i].loss_mask[t]) sum += double{samples[i].behavior_logprobs[t]} - ref[i][t], n += 1;
  return n > 0 ? sum / n : 0;
}

}  // namespace

// One micro-batch's numbers for the metrics.
struct GrpoLearner::Pass {
  std::vector<float> logprobs, entropies, old, behavior, ref, advantages, policy_weights, drift_penalties;
  std::vector<std::int64_t> answer, answer_tokens;
  LossInput input;
  LossOutput output;
};

OldPolicy parse_old_policy(std::string_view name) {
  if (name == "recompute") return OldPolicy::kRecompute;
  if (name == "behavior") return OldPolicy::kBehavior;
  throw ConfigError(message("rl.mismatch.old_policy is \"", name, "\"; it can be recompute or behavior"));
}

GrpoLearner::GrpoLearner(PolicyModel& policy, ScoringModel* reference, const GrpoOptions& options, ValueModel* critic, Ranks* ranks)
    : policy_(policy), reference_(reference), options_(options), ranks_(ranks ? *ranks : one_process_), optimizer_(options.optimizer), loss_(options.loss),
      kl_in_reward_(options.kl_in_reward) {
  entropy_.coefficient = options.loss.entropy_coefficient;
  if (options.critic && !critic) throw ConfigError("advantages by GAE need a critic: a value model beside the policy");
  if (options.critic) critic_.emplace(*critic, *options.critic, &ranks_);
  if (options.needs_reference() && !reference)
    throw ConfigError(
        "the KL term needs a reference model; set rl.kl.coefficient and rl.kl.in_reward to 0 to train without one");
  if (options.temperature <= 0)
    throw ConfigError(
        message("rollout.temperature is ", options.temperature, "; training needs samples drawn at more than 0"));
  if (options.loss.aggregation == Aggregation::kSeqMeanTokenSumNorm && options.length_budget <= 0)
    throw ConfigError("rl.loss.aggregation seq_mean_token_sum_norm needs the length budget: rollout.max_new_tokens");
}

GrpoLearner::~GrpoLearner() = default;

std::vector<std::int32_t> GrpoLearner::trainable(std::span<const std::int32_t> chosen) const {
  const bool skip = options_.skip_zero_advantages && !options_.needs_every_sample();
  std::vector<std::int32_t> out;
  for (std::int32_t i : chosen) {
    const auto& a = samples_[i].advantages;
    if (!skip || std::any_of(a.begin(), a.end(), [](float v) { return v != 0; })) out.push_back(i);
  }
  return out;
}

template <class Work>
auto GrpoLearner::retried(std::span<const std::int32_t> chosen, Work&& work) -> decltype(work()) {
  const auto alone = [&] {
    const MicroBatchPlan plan = plan_micro_batches(samples_, chosen, options_.tokens_per_micro_batch);
    return std::all_of(plan.begin(), plan.end(), [](const auto& part) { return part.size() < 2; });
  };
  return halving_micro_batches(options_.tokens_per_micro_batch, static_cast<std::int64_t>(version()) + 1, alone,
                               "set train.recompute: true or lower rollout.max_new_tokens", work);
}

void GrpoLearner::evaluate_into(ScoringModel& model, std::span<const std::int32_t> chosen, PerSample& logprobs, PerSample* entropies) {
  const auto shares = ranks_.shares(samples_, chosen);
  if (&model != reference_) policy_.make_whole();
  retried(chosen, [&] {
    ranks_.agree("log-probabilities", [&] { evaluate_once(model, shares[static_cast<std::size_t>(ranks_.rank())], logprobs, entropies); });
  });
  ranks_.gather_values(logprobs, shares, "log-probabilities");
  if (entropies) ranks_.gather_values(*entropies, shares, "entropies");
}

void GrpoLearner::evaluate_once(ScoringModel& model, std::span<const std::int32_t> chosen, PerSample& out, PerSample* entropies) {
  for (const auto& part : plan_micro_batches(samples_, chosen, options_.tokens_per_micro_batch)) {
    const MicroBatch mb = build_micro_batch(samples_, part);
    const LogprobRows rows = model.evaluate(mb.batch, options_.temperature, entropies != nullptr);
    for (std::int32_t i : part) {
      out[i].assign(samples_[i].tokens.size(), 0.f);
      if (entropies) (*entropies)[i] = out[i];
    }
    for (std::size_t k = 0; k < mb.tokens.size(); ++k) {
      const auto [sample, position] = mb.tokens[k];
      if (!std::isfinite(rows.logprobs[k]))
        throw NumericError(
            message("log-probability ", rows.logprobs[k], " of token ", position, " of sample ", samples_[sample].name,
                    &model == reference_ ? " under the reference model" : " under the policy before its update"));
      out[sample][position] = rows.logprobs[k];
      if (entropies) (*entropies)[sample][position] = rows.entropies[k];
    }
  }
}

void GrpoLearner::prepare(std::vector<TrainSample> samples, std::uint64_t rollout) {
  samples_ = std::move(samples);
  minibatches_ = split_minibatches(samples_, options_.updates_per_rollout, options_.seed, rollout);
  old_.assign(samples_.size(), {});
  ref_.assign(samples_.size(), {});
  policy_weights_.clear();
  drift_penalties_.clear();
  next_update_ = 0;
}

void GrpoLearner::finish_advantages() {
  if (options_.kl_in_reward != 0) mean_kl_ = mean_kl(samples_, ref_);
  if (critic_) critic_->set_advantages(samples_, ref_, kl_in_reward_);
  else if (options_.kl_in_reward != 0) add_kl_to_advantages(samples_, ref_, kl_in_reward_);
  if (options_.whiten_advantages) whiten_advantages(samples_, options_.whiten_epsilon);
}

void GrpoLearner::begin_rollout(std::vector<TrainSample> samples, std::uint64_t rollout) {
  prepare(std::move(samples), rollout);
  std::vector<std::int32_t> all(samples_.size());
  std::iota(all.begin(), all.end(), 0);
  if (options_.needs_reference()) evaluate_into(*reference_, all, ref_);
  for (std::size_t i = 0; i < samples_.size(); ++i)
    if (options_.needs_reference() && ref_[i].empty())
      ref_[i].assign(samples_[i].tokens.size(), 0.f);  // trains nothing
  if (critic_) critic_->begin_rollout(samples_, options_.tokens_per_micro_batch);
  finish_advantages();
  if (!decoupled()) return;
  // The first update gets them from its own forward pass, which has the same bits; if there is one, and nothing asks for them before.
  const bool needed_before = options_.loss.mismatch.normalize || (critic_ && critic_->warming_up());
  for (std::size_t m = needed_before ? 0 : 1; m < minibatches_.size(); ++m) evaluate_into(policy_, trainable(minibatches_[m]), old_);
}

bool GrpoLearner::rollout_done() const {
  return next_update_ >= options_.updates_per_rollout * options_.passes_per_rollout;
}

GrpoLearner::Pass GrpoLearner::forward_backward(const MicroBatch& mb, const LossDenominator& denominator) {
  const bool fresh = next_update_ == 0;
  const bool want_entropies = options_.want_entropy || loss_.entropy_coefficient != 0 || options_.adaptive_entropy.enabled;
  Pass p;
  LogprobRows rows = policy_.forward(mb.batch, options_.temperature, want_entropies);
  p.logprobs = std::move(rows.logprobs);
  p.entropies = std::move(rows.entropies);
  std::int32_t last = -1;
  for (std::size_t i = 0; i < mb.tokens.size(); ++i) {
    const auto [sample, position] = mb.tokens[i];
    const TrainSample& s = samples_[sample];
    if (!std::isfinite(p.logprobs[i]))
      throw NumericError(message("log-probability ", p.logprobs[i], " of token ", position, " of sample ", s.name,
                                 " in the forward pass of update ", version() + 1));
    if (sample != last) p.answer_tokens.push_back(trained_tokens(s));
    last = sample;
    p.answer.push_back(static_cast<std::int64_t>(p.answer_tokens.size()) - 1);
    p.behavior.push_back(s.behavior_logprobs[position]);
    p.advantages.push_back(s.advantages[position]);
  }
  if (decoupled() && fresh) {
    for (std::int32_t i : mb.samples) old_[i].assign(samples_[i].tokens.size(), 0.f);
    for (std::size_t i = 0; i < mb.tokens.size(); ++i) old_[mb.tokens[i].sample][mb.tokens[i].position] = p.logprobs[i];
  }
  if (decoupled() && !fresh) p.old = at_tokens(old_, mb.tokens);
  if (!policy_weights_.empty()) p.policy_weights = at_tokens(policy_weights_, mb.tokens);
  if (!drift_penalties_.empty()) p.drift_penalties = at_tokens(drift_penalties_, mb.tokens);
  if (options_.loss.kl_coefficient != 0) p.ref = at_tokens(ref_, mb.tokens);
  p.input = {p.logprobs,   p.entropies, decoupled() ? std::span<const float>(p.old) : p.behavior,
             decoupled() ? std::span<const float>(p.behavior) : std::span<const float>{},
             p.ref,        p.advantages, p.answer, p.answer_tokens, p.policy_weights, p.drift_penalties};
  p.output = policy_loss(p.input, denominator, loss_);
  if (!std::isfinite(p.output.loss))
    throw NumericError(message("the loss of update ", version() + 1, " is ", p.output.loss,
                               " in the micro-batch of samples ", names_of(samples_, mb.samples)));
  policy_.backward(p.output.d_logprobs, p.output.d_entropies);
  return p;
}

void GrpoLearner::trace(const MicroBatch& mb, const Pass& p) {
  for (std::size_t i = 0; i < mb.tokens.size(); ++i) {
    TokenTrace& t = traces_.emplace_back(TokenTrace{mb.tokens[i].sample, mb.tokens[i].position});
    t.logprob = p.logprobs[i];
    t.old_logprob = p.input.old_logprobs.empty() ? t.logprob : p.input.old_logprobs[i];
    t.advantage = p.advantages[i];
    t.gradient = p.output.d_logprobs[i];
    t.kl = p.output.kl.empty() ? 0.f : p.output.kl[i];
    t.clipped = p.output.clipped_low[i] ? 1 : p.output.clipped_high[i] ? 2 : 0;
  }
}

// The importance weights would hide that one of the two computes something else.
void GrpoLearner::check_exact(const Pass& pass, const MicroBatch& mb) const {
  if (!options_.exact || next_update_ != 0) return;
  for (std::size_t i = 0; i < pass.logprobs.size(); ++i) {
    if (pass.logprobs[i] == pass.behavior[i]) continue;
    const auto [sample, position] = mb.tokens[i];
    if (options_.stale_samples && samples_[sample].oldest != version()) continue;
    throw NumericError(message("the log-probability of token ", position, " of sample ", samples_[sample].name, " is ", pass.behavior[i],
                               " in the rollout and ", pass.logprobs[i], " in the learner (difference ", pass.logprobs[i] - pass.behavior[i],
                               ") in update ", version() + 1, "; in exact mode they are equal: report it, or set train.numerics: fast to go on "
                               "with importance weights"));
  }
}

StepReport GrpoLearner::update() {
  R1_CHECK(!rollout_done(), "update ", next_update_, " of a rollout that is done");
  const bool first = next_update_ == 0, alone = critic_ && critic_->warming_up();
  const std::int64_t before = options_.tokens_per_micro_batch;
  std::map<std::string, double> beside;
  traces_.clear();
  if (critic_) critic_->update(samples_, minibatch(), options_.tokens_per_micro_batch, beside);
  StepReport report;
  if (alone) {
    report.updated = beside.contains("critic/loss");  // else nothing was trained
    beside["critic/warmup"] = 1;
    ++next_update_;
  } else {
    if (options_.selection.active()) select(minibatch(), beside);
    report = retried(trainable(minibatch()), [&] { return update_once(); });
  }
  if (options_.tokens_per_micro_batch != before) beside["train/out_of_memory"] = 1;
  if (first && options_.kl_in_reward != 0) {
    beside["kl_in_reward"] = mean_kl_;
    if (options_.adaptive_kl.target > 0) beside["kl_in_reward_coefficient"] = kl_in_reward_;
  }
  report.metrics.merge(beside);
  if (rollout_done()) end_rollout();
  return report;
}

// Of an update, over its lanes in order.
struct GrpoLearner::LaneSums {
  UpdateMetrics metrics;
  std::int64_t rows = 0, micro_batches = 0;
};

GrpoLearner::LaneSums GrpoLearner::train_lanes(const LossDenominator& denominator) {
  const std::vector<std::int32_t> chosen = trainable(minibatch());
  const auto lanes = split_lanes(samples_, chosen, ranks_.lanes());
  std::vector<MicroBatchPlan> plans;
  for (const auto& lane : lanes) plans.push_back(plan_micro_batches(samples_, lane, options_.tokens_per_micro_batch));
  std::vector<LaneSums> sums;
  const auto train = [&] {
    policy_.zero_gradient();
    sums.clear();
    traces_.clear();
    for (int lane = ranks_.first_lane(); lane < ranks_.last_lane(); ++lane) {
      LaneSums& s = sums.emplace_back();
      policy_.open_lane(lane);
      for (const auto& part : plans[static_cast<std::size_t>(lane)]) {
        const MicroBatch mb = build_micro_batch(samples_, part);
        const Pass pass = forward_backward(mb, denominator);
        check_exact(pass, mb);
        if (keep_traces_) trace(mb, pass);
        s.rows += static_cast<std::int64_t>(mb.batch.tokens.size());
        s.micro_batches += 1;
        add_metrics(s.metrics, pass);
      }
      if (ranks_.lanes() > 1) policy_.close_lane();
    }
  };
  if (policy_.backward_is_collective()) {
    train();
    ranks_.absent_passes(plans, [&] { policy_.absent_backward(); });
  } else {
    ranks_.agree("the backward pass", train);
  }
  LaneSums total;
  for (const std::string& bytes : ranks_.gather_lanes(bytes_of(std::span<const LaneSums>(sums)), "the update's metrics"))
    for (const LaneSums& s : values_of<LaneSums>(bytes)) {
      total.metrics.merge(s.metrics);
      total.rows += s.rows, total.micro_batches += s.micro_batches;
    }
  if (decoupled() && next_update_ == 0) ranks_.gather_values(old_, ranks_.by_rank(lanes), "old log-probabilities");
  return total;
}

void GrpoLearner::add_metrics(UpdateMetrics& metrics, const Pass& pass) const {
  metrics.add(pass.input, pass.output);
  // Fresh: the very pass that is trained. Later in a rollout: the pass at its start.
  const std::vector<float>& log_p = next_update_ == 0 ? pass.logprobs : pass.old;
  for (std::size_t i = 0, end = 0; i < log_p.size(); i = end) {
    while (end < log_p.size() && pass.answer[end] == pass.answer[i]) ++end;
    metrics.mismatch().add_answer({log_p.data() + i, end - i}, {pass.behavior.data() + i, end - i});
  }
}

StepReport GrpoLearner::update_once() {
  const std::span<const std::int32_t> chosen = minibatch();
  LossDenominator denominator = denominator_of(samples_, chosen, options_.length_budget);
  if (options_.loss.mismatch.normalize) denominator.mismatch_mean = mismatch_mean(chosen);
  if (options_.adaptive_entropy.enabled) loss_.entropy_coefficient = options_.adaptive_entropy.applied(entropy_);
  StepReport report;
  report.metrics["train/samples"] = static_cast<double>(denominator.sequences);
  report.metrics["train/trained_tokens"] = static_cast<double>(denominator.tokens);
  if (denominator.tokens == 0) {
    ++next_update_;
    return report;
  }
  policy_.set_balance_loss(options_.router.balance_loss / static_cast<double>(denominator.sequences));
  const LaneSums sums = train_lanes(denominator);
  UpdateStats stats;
  try {
    stats = optimizer_.step(policy_);
  } catch (const BadGradient&) {
    blame_gradient(denominator);
  }
  finish_experts(policy_, options_.router.bias_update, ranks_, report.metrics);
  ++next_update_;
  if (options_.needs_reference() && options_.reference_refresh > 0 &&
      optimizer_.updates() % options_.reference_refresh == 0) {
    reference_->load(policy_.weights(version()));
    reference_refreshed_ = report.reference_refreshed = true;
    report.metrics["reference_refreshed"] = 1;
  }
  report.updated = true;
  sums.metrics.report(report.metrics);
  if (options_.adaptive_entropy.enabled) {
    report.metrics["entropy_coefficient"] = loss_.entropy_coefficient;
    options_.adaptive_entropy.observe(entropy_, report.metrics.at("entropy"));
  }
  report.metrics["grad_norm"] = stats.grad_norm;
  report.metrics["grad_clip_scale"] = stats.clip_scale;
  report.metrics["learning_rate"] = stats.learning_rate;
  report.metrics["train/rows"] = static_cast<double>(sums.rows);
  report.metrics["train/micro_batches"] = static_cast<double>(sums.micro_batches);
  report.metrics["train/tokens_per_micro_batch"] = static_cast<double>(options_.tokens_per_micro_batch);
  return report;
}

void GrpoLearner::blame_gradient(const LossDenominator& denominator) {
  std::size_t passes = 0;
  // The sum is spoilt: run the micro-batches again, one by one. (A sharded gradient is looked at while it is made.)
  if (!policy_.backward_is_collective()) {
    const auto lanes = split_lanes(samples_, trainable(minibatch()), ranks_.lanes());
    for (int lane = ranks_.first_lane(); lane < ranks_.last_lane(); ++lane) {
      const MicroBatchPlan plan = plan_micro_batches(samples_, lanes[static_cast<std::size_t>(lane)], options_.tokens_per_micro_batch);
      for (std::size_t i = 0; i < plan.size(); ++i, ++passes) {
        policy_.zero_gradient();
        forward_backward(build_micro_batch(samples_, plan[i]), denominator);
        if (const auto bad = policy_.find_non_finite(ParameterPart::kGradient))
          throw NumericError(message("the gradient of ", bad->tensor, " is ", bad->value, " at element ", bad->element,
                                     " in update ", version() + 1, ", micro-batch ", i + 1, " of ", plan.size(),
                                     " (samples ", names_of(samples_, plan[i]),
                                     "); the weights are still those before it"));
      }
    }
  }
  if (!ranks_.alone()) ranks_.comm().barrier("the search for a bad gradient");  // a rank that found it does not come
  throw NumericError(message("the gradient of update ", version() + 1, " overflows when its micro-batches are summed; lower rl.learning_rate or "
                             "check the rewards' scale"));
}

}  // namespace r1
