#include "sft/sft_trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "core/error.h"

namespace r1 {

std::int64_t updates_for(double epochs, std::int64_t epoch_size, std::int64_t examples_per_update) {
  const auto examples = std::max<std::int64_t>(1, std::llround(epochs * static_cast<double>(epoch_size)));
  return (examples + examples_per_update - 1) / examples_per_update;
}

SftTrainer::SftTrainer(Parts parts, SftTrainerOptions options)
    : TrainLoop("sft", options.loop, parts.checkpoints, parts.observers, parts.ranks), parts_(std::move(parts)), options_(std::move(options)) {
  R1_CHECK(options_.examples_per_update > 0, "examples_per_update is ", options_.examples_per_update);
  R1_CHECK(parts_.eval_prompts.empty() || parts_.engine, "a generative evaluation without an engine");
}

std::uint64_t SftTrainer::cursor() const { return static_cast<std::uint64_t>(step_) * static_cast<std::uint64_t>(options_.examples_per_update); }

void SftTrainer::advance() {
  const auto start = std::chrono::steady_clock::now();
  std::int64_t count = options_.examples_per_update;
  if (options_.total_examples > 0) count = std::min(count, options_.total_examples - static_cast<std::int64_t>(cursor()));
  if (count <= 0)
    throw ConfigError(message("the run's ", options_.total_examples, " examples are used up after ", step_, " updates; raise sft.epochs to go on"));
  std::vector<const SftExample*> batch;
  std::int64_t tokens = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    batch.push_back(&(*parts_.examples)[static_cast<std::size_t>(parts_.stream->at(cursor() + static_cast<std::uint64_t>(i)))]);
    tokens += static_cast<std::int64_t>(batch.back()->tokens.size());
  }
  StepReport report = parts_.learner->update(batch);
  ++step_;
  num_tokens_ += tokens;
  if (report.metrics.contains("train/out_of_memory"))
    tell(message("step ", step_, ": the GPU's memory did not hold a micro-batch; from now on they have ",
                 parts_.learner->options().tokens_per_micro_batch, " tokens"));
  StepRecord record;
  record.step = step_;
  record.metrics = std::move(report.metrics);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  record.metrics["step_time"] = record.metrics["timing_s/step"] = record.metrics["timing_s/update_actor"] = seconds;
  record.metrics["perf/throughput"] = seconds > 0 ? static_cast<double>(tokens) / seconds : 0;
  record.metrics["num_tokens"] = static_cast<double>(num_tokens_);
  record.metrics["epoch"] = static_cast<double>(cursor() - static_cast<std::uint64_t>(options_.examples_per_update - count)) /
                            static_cast<double>(parts_.stream->epoch_size());
  if (parts_.peak_gb) record.metrics["memory/peak_gb"] = parts_.peak_gb();
  for (TrainObserver* o : observers_) o->add_metrics(record);
  for (TrainObserver* o : observers_) o->on_step(record);
}

void SftTrainer::evaluate() {
  if (!parts_.validation.empty()) {
    std::vector<const SftExample*> all;
    for (const SftExample& e : parts_.validation) all.push_back(&e);
    const std::map<std::string, double> metrics = parts_.learner->evaluate(all);
    for (TrainObserver* o : observers_) o->on_validation(step_, metrics);
  }
  if (parts_.eval_prompts.empty()) return;
  parts_.engine->load_weights(parts_.learner->publish());
  const EvalReport report = r1::evaluate(*parts_.engine, parts_.eval_prompts, parts_.scorer, options_.eval, &ranks());
  for (TrainObserver* o : observers_) o->on_evaluation(step_, report);
}

WeightSnapshot SftTrainer::save_state(CheckpointState& state) {
  const std::string rows = std::to_string(parts_.learner->options().tokens_per_micro_batch);
  state.version = parts_.learner->version();
  state.data_cursor = cursor();
  state.plan = "tokens_per_micro_batch=" + rows;
  state.extra["tokens_per_micro_batch"] = rows;
  save_lanes(state);
  return parts_.learner->state();
}

void SftTrainer::restore_state(const SavedRun& saved) {
  // The plan decides the order of sums: the bits follow the run that was begun, whatever this start would choose.
  parts_.learner->set_tokens_per_micro_batch(number(saved.state, "tokens_per_micro_batch"));
  restore_lanes(saved.state);
  parts_.learner->restore(saved.optimizer, static_cast<std::int64_t>(saved.state.version));
}

}  // namespace r1
