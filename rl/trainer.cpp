#include "rl/trainer.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <sys/resource.h>

#include "core/error.h"
#include "rl/rollout_metrics.h"
#include "rl/staleness.h"

namespace r1 {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double peak_gb() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / (1 << 20);
}

// timing_s/ are the parts of a step's wall time, so an overlapped rollout counts there as what learning did not hide.
void add_times(const CollectedRollout& r, double waited, bool overlaps, std::map<std::string, double>& m) {
  m["timing_s/gen"] = overlaps ? waited : r.times.generate_s;
  m["timing_s/reward"] = overlaps ? 0 : r.times.reward_wait_s;
  m["timing_s/reward_cpu"] = r.times.reward_cpu_s;
  m["time/rollout"] = r.seconds;
  m["time/wait_rollout"] = waited;
  m["time/wait_learner"] = r.waited_for_weights_s;
  m["rollout/overlap_share"] = overlaps && r.seconds > 0 ? std::clamp(1 - waited / r.seconds, 0.0, 1.0) : 0;
}

// A learner that is told that samples may be stale is not surprised by other numbers than the sampler's.
void check_learner(const GrpoLearner& learner, const TrainerOptions& o) {
  if (o.async.max_staleness > 0 && learner.options().exact && !learner.options().stale_samples)
    throw ConfigError(message("rl.max_staleness is ", o.async.max_staleness, ", and the learner expects samples of the present weights alone"));
}

}  // namespace

void check(const TrainerOptions& o) {
  if (o.prompts_per_rollout < 1)
    throw ConfigError(message("rl.prompts_per_rollout is ", o.prompts_per_rollout, ", must be at least 1"));
  if (o.samples_per_prompt < 1)
    throw ConfigError(message("rollout.samples_per_prompt is ", o.samples_per_prompt, ", must be at least 1"));
  if (o.dynamic.enabled && o.samples_per_prompt < 2)
    throw ConfigError("rl.dynamic_sampling needs rollout.samples_per_prompt of at least 2: one sample is never mixed");
  if (o.dynamic.enabled && o.early_stop.enabled)
    throw ConfigError("rl.early_stop and rl.dynamic_sampling both sample more prompts than are trained on; enable one of them");
  if (o.early_stop.enabled && !(o.early_stop.oversample >= 1))
    throw ConfigError(message("rl.early_stop.oversample is ", o.early_stop.oversample, ", must be at least 1"));
  if (o.async.max_staleness < 0) throw ConfigError(message("rl.max_staleness is ", o.async.max_staleness, ", must not be negative"));
  if (o.async.free_running && o.async.max_staleness == 0)
    throw ConfigError("rl.async.mode free needs rl.max_staleness of at least 1: with 0 rollout and learning take turns");
}

Trainer::Trainer(Parts parts, TrainerOptions options)
    : TrainLoop("grpo", {options.steps, options.save_every, options.eval_every, options.eval_at_start, options.seed, options.config_digest},
                parts.checkpoints, parts.observers, parts.ranks),
      parts_(std::move(parts)),
      options_((check(options), std::move(options))),
      collector_(*parts_.engine, *parts_.prompts, {parts_.scorer, parts_.completion_scorer, parts_.group_scored}, parts_.journal, options_, &join_rollouts()) {
  check_learner(*parts_.learner, options_);
  if (!parts_.eval_scorer) parts_.eval_scorer = parts_.scorer;
}

// The ranks as the thread that samples speaks to them.
Ranks& Trainer::join_rollouts() {
  if (!overlaps() || ranks().alone()) return ranks();
  if (ranks().groups() < ranks().world())
    throw ConfigError(message("rl.max_staleness is ", options_.async.max_staleness, ": the rollout beside the learner needs a whole model on each rank, and here ",
                              ranks().world() / ranks().groups(), " of them share one (train.tensor_parallel, train.sequence_parallel); set it to 0"));
  rollout_session_ = ranks().session()->beside("rollout");
  return rollout_ranks_.emplace(rollout_session_.get(), 0);
}

void Trainer::advance() {
  // First the rollout that is due, which no weights are needed for that were not offered before (but where the thread begins): after it
  // the engine is idle and takes the new weights on the device. Free running it takes them at any time.
  if (overlaps() && (!rollouts_ || options_.async.free_running)) offer_weights();
  if (!state_.in_rollout) collect_rollout();
  if (overlaps()) offer_weights();
  one_update();
}

void Trainer::publish() {
  if (published_ == parts_.learner->version()) return;
  parts_.engine->load_weights(parts_.learner->publish());
  published_ = parts_.learner->version();
}

// Also the place where the rollout's thread begins.
void Trainer::offer_weights() {
  if (!rollouts_) {
    const GrpoOptions& learner = parts_.learner->options();
    RolloutThread::Options o;
    o.updates_per_rollout = std::int64_t{learner.updates_per_rollout} * learner.passes_per_rollout;
    o.max_staleness = options_.async.max_staleness, o.steps = options_.steps;
    o.free_running = options_.async.free_running, o.patience_s = options_.async.patience_s, o.alone = ranks().alone();
    RolloutThread::Start start{step_, state_.rollout + state_.in_rollout, state_.cursor, std::move(ready_)};
    ready_.clear();
    if (!start.ready.empty()) start.rollout = start.ready.back().number + 1, start.cursor = start.ready.back().cursor;
    collector_.set_trusted(parts_.learner->version());
    rollouts_ = std::make_unique<RolloutThread>(*parts_.engine, collector_, o, std::move(start));
  }
  rollouts_->offer(step_, *parts_.learner);
}

CollectedRollout Trainer::next_rollout() {
  const auto progress = [&](const RolloutProgress& p) {
    for (TrainObserver* o : observers_) o->on_rollout_progress(p);
  };
  if (rollouts_) return rollouts_->take(progress);
  publish();
  return collector_.collect(state_.rollout, state_.cursor, {step_, parts_.learner->version(), parts_.learner->digest()}, progress);
}

TrainSet Trainer::train_set() const {
  TrainSet set = make_train_samples(groups_, options_.train_samples, kept_);
  if (parts_.token_advantages) parts_.token_advantages(set.samples);
  return set;
}

void Trainer::collect_rollout() {
  for (TrainObserver* o : observers_) o->on_rollout_start(state_.rollout, step_);
  const auto begin = Clock::now();
  CollectedRollout rollout = next_rollout();
  const double waited = seconds_since(begin);
  R1_CHECK(rollout.number == state_.rollout, "rollout ", rollout.number, " came, ", state_.rollout, " is next");
  for (const std::string& text : rollout.messages) tell(text);
  const WeightVersion current = parts_.learner->version();
  check_versions(rollout.groups, rollout.weights.version, options_.async.free_running ? current : rollout.weights.version);
  state_.cursor = rollout.cursor;
  groups_ = std::move(rollout.groups);
  kept_ = std::move(rollout.kept);
  rollout_metrics_ = std::move(rollout.metrics);
  rollout_metrics_.merge(r1::rollout_metrics(groups_));
  add_staleness(groups_, kept_, current, rollout_metrics_);
  add_times(rollout, waited, overlaps(), rollout_metrics_);
  const auto generated = static_cast<double>(count_completion_tokens(groups_));
  rollout_metrics_["rollout/tokens_per_s"] = rollout.times.generate_s > 0 ? generated / rollout.times.generate_s : 0;
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
  ranks().phase(message("update ", step_ + 1));
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
  EvalOptions eval = options_.eval;
  eval.reward_threads = options_.reward_threads;
  EvalReport report;
  const auto run = [&] { report = r1::evaluate(*parts_.engine, parts_.eval_prompts, parts_.eval_scorer, eval, &ranks()); };
  if (rollouts_) {
    rollouts_->with_engine([&] {
      parts_.engine->load_weights(parts_.learner->publish());
      run();
    });
  } else {
    publish();
    run();
  }
  for (TrainObserver* o : observers_) o->on_evaluation(step_, report);
}

}  // namespace r1
