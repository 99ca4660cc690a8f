#include "sft/example_trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "core/serialize.h"
#include "rl/memory_retry.h"
#include "sft/packing.h"

namespace r1 {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

std::int64_t updates_for(double epochs, std::int64_t epoch_size, std::int64_t examples_per_update) {
  const auto examples = std::max<std::int64_t>(1, std::llround(epochs * static_cast<double>(epoch_size)));
  return (examples + examples_per_update - 1) / examples_per_update;
}

void plan_updates(ExampleTrainerOptions& t, std::optional<std::int64_t> steps, double warmup_ratio, std::int64_t epoch_size,
                  const std::string& section) {
  LrOptions& lr = t.optimizer.learning_rate;
  if (steps) t.epochs = static_cast<double>(*steps * t.examples_per_update) / static_cast<double>(epoch_size);
  t.loop.steps = lr.total = updates_for(t.epochs, epoch_size, t.examples_per_update);
  if (warmup_ratio > 0) lr.warmup = static_cast<std::int64_t>(std::ceil(warmup_ratio * static_cast<double>(t.loop.steps)));
  if (warmup_ratio > 0 && warmup_ratio < 1) lr.warmup = std::min(lr.warmup, t.loop.steps - 1);  // a share of few updates is rounded up to all of them
  if (lr.schedule != LrSchedule::kConstant && lr.warmup >= t.loop.steps && lr.warmup > 0)
    throw ConfigError(message(section, ".warmup_steps = ", lr.warmup, " is not below the ", t.loop.steps, " updates of the run (", epoch_size,
                              " examples an epoch, ", t.examples_per_update, " an update)"));
}

ExampleTrainer::ExampleTrainer(std::string stage, Parts parts, const ExampleTrainerOptions& options)
    : TrainLoop(std::move(stage), options.loop, parts.checkpoints, parts.observers, parts.ranks),
      parts_(std::move(parts)),
      options_(options),
      optimizer_(options.optimizer),
      order_(options.parts.empty() ? std::vector<MixturePart>{{parts_.objective->size(), 1}} : options.parts, options.loop.seed, options.shuffle),
      total_(std::max<std::int64_t>(1, std::llround(options.epochs * static_cast<double>(order_.epoch_size())))) {
  R1_CHECK(options.examples_per_update > 0 && parts_.objective->size() > 0, "updates of ", options.examples_per_update, " of ",
           parts_.objective->size(), " examples");
  R1_CHECK(parts_.eval_prompts.empty() || (parts_.engine && parts_.policy), "an evaluation by sampling without an engine");
}

void ExampleTrainer::tell_smaller(std::int64_t before) {
  if (options_.tokens_per_micro_batch != before)
    tell(message("step ", step_ + 1, ": the GPU's memory did not hold a micro-batch; from now on they have ", options_.tokens_per_micro_batch,
                 " tokens"));
}

std::size_t ExampleTrainer::gradient_of(std::span<const std::int64_t> examples) {
  ExampleObjective& objective = *parts_.objective;
  std::vector<MicroBatchPlan> plans;  // of the lanes
  const auto count = [&] {
    return std::accumulate(plans.begin(), plans.end(), std::size_t{0}, [](std::size_t n, const MicroBatchPlan& p) { return n + p.size(); });
  };
  const auto alone = [&] { return count() >= examples.size(); };
  std::vector<std::string> sums;
  const std::int64_t before = options_.tokens_per_micro_batch;
  halving_micro_batches(options_.tokens_per_micro_batch, step_ + 1, alone, "set train.recompute: true or leave out the longest examples", [&] {
    const std::vector<std::int64_t> rows = objective.begin_update(step_, examples);
    rows_ = std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
    plans = lane_plans(rows);
    const auto train = [&] {
      objective.model().zero_gradient();
      sums.clear();
      for (int lane = ranks().first_lane(); lane < ranks().last_lane(); ++lane) {
        objective.model().open_lane(lane);
        for (const std::vector<std::int32_t>& part : plans[static_cast<std::size_t>(lane)]) objective.train(part);
        if (ranks().lanes() == 1) continue;
        objective.model().close_lane();
        sums.push_back(objective.take_sums());
      }
    };
    if (objective.model().backward_is_collective()) {
      train();
      ranks().absent_passes(plans, [&] { objective.model().absent_backward(); });
    } else {
      ranks().agree("the backward pass", train);
    }
  });
  if (ranks().lanes() > 1) {
    std::string mine;
    for (const std::string& s : sums) append_record(mine, s);
    for (const std::string& bytes : ranks().gather_lanes(mine, "the update's metrics"))
      for (std::string_view rest = bytes; !rest.empty();) objective.add_sums(take_record(rest));
  }
  tell_smaller(before);
  return count();
}

std::vector<MicroBatchPlan> ExampleTrainer::lane_plans(std::span<const std::int64_t> rows) const {
  std::vector<MicroBatchPlan> out;
  for (const std::vector<std::int32_t>& lane : split_rows(rows, ranks().lanes())) out.push_back(pack_lane(rows, lane, options_.tokens_per_micro_batch));
  return out;
}

void ExampleTrainer::blame(std::span<const std::int64_t> examples) {
  // The sum is spoilt: run the rank's examples again, one by one. (A sharded gradient is looked at while it is made.)
  ExampleObjective& objective = *parts_.objective;
  const std::vector<MicroBatchPlan> plans = lane_plans(objective.begin_update(step_, examples));
  std::vector<std::int32_t> own;
  for (int lane = ranks().first_lane(); lane < ranks().last_lane() && !objective.model().backward_is_collective(); ++lane)
    for (const auto& part : plans[static_cast<std::size_t>(lane)]) own.insert(own.end(), part.begin(), part.end());
  std::sort(own.begin(), own.end());
  for (const std::int32_t i : own) {
    objective.model().zero_gradient();
    objective.train({&i, 1});
    if (const auto bad = objective.model().find_non_finite(ParameterPart::kGradient))
      throw NumericError(message("the gradient of ", bad->tensor, " is ", bad->value, " at element ", bad->element, " in update ", step_ + 1,
                                 ", example ", objective.name(examples[static_cast<std::size_t>(i)]), "; the weights are still those before it"));
  }
  if (!ranks().alone()) ranks().comm().barrier("the search for a bad gradient");  // a rank that found it does not come
  throw NumericError(
      message("the gradient of update ", step_ + 1, " overflows when its ", examples.size(), " examples are summed; lower the learning rate"));
}

void ExampleTrainer::advance() {
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::int64_t> examples;
  for (std::int64_t i = cursor_; i < std::min(cursor_ + options_.examples_per_update, total_); ++i)
    examples.push_back(static_cast<std::int64_t>(order_.at(static_cast<std::uint64_t>(i))));
  R1_CHECK(!examples.empty(), "update ", step_ + 1, " of a run that is over");
  const std::size_t micro_batches = gradient_of(examples);
  StepRecord record;
  record.metrics = parts_.objective->report();
  if (const double loss = record.metrics.at("loss"); !std::isfinite(loss))
    throw NumericError(message("the loss of update ", step_ + 1, " is ", loss));
  UpdateStats stats;
  try {
    stats = optimizer_.step(parts_.objective->model());
  } catch (const BadGradient&) {
    blame(examples);
  }
  ++step_;
  cursor_ += static_cast<std::int64_t>(examples.size());
  num_tokens_ += rows_;
  record.step = step_;
  record.metrics["grad_norm"] = stats.grad_norm;
  record.metrics["grad_clip_scale"] = stats.clip_scale;
  record.metrics["learning_rate"] = stats.learning_rate;
  record.metrics["epoch"] = static_cast<double>(cursor_) / static_cast<double>(order_.epoch_size());
  record.metrics["num_tokens"] = static_cast<double>(num_tokens_);
  record.metrics["train/samples"] = static_cast<double>(examples.size());
  record.metrics["train/rows"] = static_cast<double>(rows_);
  record.metrics["train/tokens_per_micro_batch"] = static_cast<double>(options_.tokens_per_micro_batch);
  record.metrics["train/micro_batches"] = static_cast<double>(micro_batches);
  const double seconds = seconds_since(start);
  record.metrics["step_time"] = record.metrics["timing_s/step"] = seconds;
  record.metrics["perf/throughput"] = seconds > 0 ? static_cast<double>(rows_) / seconds : 0;
  if (parts_.peak_gb) record.metrics["memory/peak_gb"] = parts_.peak_gb();
  for (TrainObserver* o : observers_) o->add_metrics(record);
  for (TrainObserver* o : observers_) o->on_step(record);
}

void ExampleTrainer::evaluate() {
  if (parts_.objective->has_evaluation()) {
    const std::int64_t before = options_.tokens_per_micro_batch;
    parts_.objective->model().make_whole();
    const Metrics metrics = halving_micro_batches(options_.tokens_per_micro_batch, step_ + 1, [] { return false; }, "leave out the longest examples",
                                                  [&] { return parts_.objective->evaluate(options_.tokens_per_micro_batch); });
    tell_smaller(before);
    for (TrainObserver* o : observers_) o->on_validation(step_, metrics);
  }
  if (parts_.eval_prompts.empty()) return;
  parts_.engine->load_weights(parts_.policy->weights(version()));
  const EvalReport report = r1::evaluate(*parts_.engine, parts_.eval_prompts, parts_.scorer, options_.eval, &ranks());
  for (TrainObserver* o : observers_) o->on_evaluation(step_, report);
}

WeightSnapshot ExampleTrainer::save_state(CheckpointState& state) {
  state.version = version();
  state.data_cursor = static_cast<std::uint64_t>(cursor_);
  state.plan = message("tokens_per_micro_batch=", options_.tokens_per_micro_batch);
  state.extra["tokens_per_micro_batch"] = std::to_string(options_.tokens_per_micro_batch);
  save_lanes(state);
  return parts_.objective->model().optimizer_state();
}

void ExampleTrainer::restore_state(const SavedRun& saved) {
  cursor_ = static_cast<std::int64_t>(saved.state.data_cursor);
  // The plan decides the order of sums: the bits follow the run that was begun, whatever this start would choose.
  options_.tokens_per_micro_batch = number(saved.state, "tokens_per_micro_batch");
  restore_lanes(saved.state);
  parts_.objective->model().restore_optimizer_state(saved.optimizer);
  optimizer_.set_updates(static_cast<std::int64_t>(saved.state.version));
}

}  // namespace r1
