#include "rl/trainer.h"

#include <chrono>
#include <cmath>
#include <utility>

#include <sys/resource.h>

#include "core/error.h"
#include "rl/rollout_metrics.h"

namespace r1 {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double peak_gb() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / (1 << 20);
}

void check(const TrainerOptions& o) {
  if (o.prompts_per_rollout < 1)
    throw ConfigError(message("rl.prompts_per_rollout is ", o.prompts_per_rollout, ", must be at least 1"));
  if (o.samples_per_prompt < 1)
    throw ConfigError(message("rollout.samples_per_prompt is ", o.samples_per_prompt, ", must be at least 1"));
  if (o.dynamic.enabled && o.samples_per_prompt < 2)
    throw ConfigError("rl.dynamic_sampling needs rollout.samples_per_prompt of at least 2: one sample is never mixed");
}

}  // namespace

Trainer::Trainer(Parts parts, TrainerOptions options)
    : TrainLoop("grpo", {options.steps, options.save_every, options.eval_every, options.eval_at_start, options.seed, options.config_digest},
                parts.checkpoints, parts.observers),
      parts_(std::move(parts)),
      options_((check(options), std::move(options))),
      journal_(parts_.journal),
      sampler_(*parts_.engine, parts_.scorer, journal_,
               {options_.samples_per_prompt, options_.sampling, options_.seed, options_.reward_threads}) {
  if (!parts_.eval_scorer) parts_.eval_scorer = parts_.scorer;
}

void Trainer::advance() {
  if (!state_.in_rollout) collect_rollout();
  one_update();
}

void Trainer::publish() {
  if (published_ == parts_.learner->version()) return;
  parts_.engine->load_weights(parts_.learner->publish());
  published_ = parts_.learner->version();
}

void Trainer::sample_groups() {
  RolloutJournal::Contents known = journal_.open(state_.rollout, journal_fingerprint());
  if (!known.scores.empty())
    tell(message("rollout ", state_.rollout, ": ", known.scores.size(), " scored groups found in the journal"));
  groups_.clear();
  kept_.clear();
  const DynamicSamplingOptions& dynamic = options_.dynamic;
  const auto wanted = static_cast<std::size_t>(options_.prompts_per_rollout);
  std::size_t kept = 0;
  int round = 0;
  do {
    const double factor = dynamic.enabled ? dynamic.oversample : 1.0;
    const auto prompts = static_cast<std::size_t>(std::ceil(static_cast<double>(wanted - kept) * factor));
    std::vector<GroupSampler::Item> items;
    for (std::size_t i = 0; i < prompts; ++i, ++state_.cursor)
      items.push_back({state_.cursor, parts_.prompts->at(state_.cursor)});
    for (ScoredGroup& g : sampler_.sample(std::move(items), state_.rollout, known, [&](const RolloutProgress& p) {
           for (TrainObserver* o : observers_) o->on_rollout_progress(p);
         })) {
      // In prompt order, so that which groups are kept does not depend on which ended first.
      const bool keep = kept < wanted && (!dynamic.enabled || keeps_group(g));
      kept += keep;
      kept_.push_back(keep);
      groups_.push_back(std::move(g));
    }
    ++round;
  } while (dynamic.enabled && kept < wanted && round < dynamic.max_rounds);
  if (!dynamic.enabled) return;
  rollout_metrics_["dynamic_sampling/rounds"] = round;
  rollout_metrics_["dynamic_sampling/kept"] = static_cast<double>(kept);
  rollout_metrics_["dynamic_sampling/sampled"] = static_cast<double>(groups_.size());
  if (kept < wanted)
    tell(message("rollout ", state_.rollout, ": only ", kept, " of ", wanted, " groups are mixed after ", round,
                 " rounds (", groups_.size(), " sampled)"));
}

TrainSet Trainer::train_set() const {
  TrainSet set = make_train_samples(groups_, options_.train_samples, kept_);
  if (parts_.token_advantages) parts_.token_advantages(set.samples);
  return set;
}

void Trainer::collect_rollout() {
  for (TrainObserver* o : observers_) o->on_rollout_start(state_.rollout, step_);
  publish();
  rollout_metrics_.clear();
  sampler_.reset_times();
  const State before = state_;
  try {
    sample_groups();
  } catch (...) {
    state_ = before;  // the prompts taken are taken again
    throw;
  }
  rollout_metrics_.merge(r1::rollout_metrics(groups_));
  const RolloutTimes& times = sampler_.times();
  const auto generated = static_cast<double>(count_completion_tokens(groups_));
  rollout_metrics_["timing_s/gen"] = times.generate_s;
  rollout_metrics_["timing_s/reward"] = times.reward_wait_s;
  rollout_metrics_["timing_s/reward_cpu"] = times.reward_cpu_s;
  rollout_metrics_["rollout/tokens_per_s"] = times.generate_s > 0 ? generated / times.generate_s : 0;
  num_tokens_ += count_tokens(groups_);

  const auto start = Clock::now();
  TrainSet set = train_set();
  rollout_metrics_["completions/overlong_filtered"] = static_cast<double>(set.overlong_filtered);
  parts_.learner->begin_rollout(std::move(set.samples), state_.rollout);
  rollout_metrics_["timing_s/prepare"] = seconds_since(start);
  state_.in_rollout = true;
}

void Trainer::one_update() {
  const auto start = Clock::now();
  const bool first = !rollout_metrics_.empty();
  StepReport report = parts_.learner->update();
  ++step_;
  if (const auto halved = report.metrics.find("train/out_of_memory"); halved != report.metrics.end())
    tell(message("step ", step_, ": the GPU's memory did not hold a micro-batch; from now on they have ",
                 parts_.learner->options().tokens_per_micro_batch, " tokens"));
  if (!report.updated) tell(message("step ", step_, ": no sample to train on, the weights stay"));
  StepRecord record;
  record.step = step_;
  record.rollout = state_.rollout;
  record.metrics = std::move(report.metrics);
  double step_time = seconds_since(start);
  record.metrics["timing_s/update_actor"] = step_time;
  if (first) {
    for (const char* part : {"timing_s/gen", "timing_s/reward", "timing_s/prepare"})
      step_time += rollout_metrics_[part];
    for (const auto& [name, value] : rollout_metrics_)
      record.metrics[name] = value;  // entropy: of all tokens, not of those trained
    rollout_metrics_.clear();
    record.groups = groups_;
    record.kept = kept_;
    record.samples = parts_.learner->samples();
  }
  record.traces = parts_.learner->traces();
  record.trained = parts_.learner->samples();
  record.metrics["timing_s/step"] = record.metrics["step_time"] = step_time;
  record.metrics["num_tokens"] = static_cast<double>(num_tokens_);
  if (first)
    record.metrics["perf/throughput"] = step_time > 0 ? static_cast<double>(count_tokens(groups_)) / step_time : 0;
  record.metrics["memory/peak_gb"] = parts_.peak_gb ? parts_.peak_gb() : peak_gb();
  if (parts_.learner->rollout_done()) {
    state_.in_rollout = false;
    ++state_.rollout;
  }
  for (TrainObserver* o : observers_) o->add_metrics(record);
  for (TrainObserver* o : observers_) o->on_step(record);
  if (report.reference_refreshed)
    for (TrainObserver* o : observers_) o->on_reference_refreshed(step_);
  if (!state_.in_rollout) groups_.clear();
}

void Trainer::evaluate() {
  publish();
  EvalOptions eval = options_.eval;
  eval.reward_threads = options_.reward_threads;
  const EvalReport report = r1::evaluate(*parts_.engine, parts_.eval_prompts, parts_.eval_scorer, eval);
  for (TrainObserver* o : observers_) o->on_evaluation(step_, report);
}

}  // namespace r1
