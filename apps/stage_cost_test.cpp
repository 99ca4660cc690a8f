// Estimates beside measured runs (docs/LOG.md 2026-11-24, docs/performance.md), and what is assumed where nobody says it.
#include "apps/stage_space.h"

#include <cmath>

#include <doctest/doctest.h>

#include "core/error.h"
#include "core/format.h"
#include "model/gpu/gpu_layout.h"
#include "model/model_shapes.h"

namespace r1 {
namespace {

// One rollout of prompts x samples, each of exactly so many tokens, and its update.
StageLoad rollout_and_update(std::int64_t prompts, std::int64_t samples, int new_tokens) {
  StageLoad load;
  load.model = "m";
  load.drawings = {{"rollouts", prompts, samples, 1, new_tokens, 0, {}}};
  load.learns = StageLoad::Learns::kCompletions;
  load.updates = 1, load.all_samples = true;
  return load;
}

StageCost cost_of(const StageLoad& load, const char* shape, const DeviceRates& rates, double prompt_tokens, double new_tokens) {
  StageKnown known;
  known.expect = {{"prompt_tokens", prompt_tokens}, {"new_tokens", new_tokens}};
  const ModelSize model = size_of(model_shape(shape), shape);
  return stage_cost(load, stage_sizes(load, known), model, std::nullopt, rates, speeds_of(model, rates));
}

// The quiet machine of the log: its product did 437 GFLOP/s, reading 36.6 GB/s.
DeviceRates logged_cpu() { return {"cpu", false, 0.67 * 437e9, 0.81 * 437e9, 0, 0, 36.6e9, 0, 0, 0, 0, 0}; }

}  // namespace

TEST_CASE("estimates are within a quarter of measured runs") {
  const auto near = [](double estimate, double measured) {
    INFO(estimate, " estimated, ", measured, " measured");
    CHECK(estimate > 0.75 * measured);
    CHECK(estimate < 1.25 * measured);
  };
  const DeviceRates cpu = logged_cpu(), h100 = device_rates("h100", 1);
  SUBCASE("SmolLM2-135M on two cores: a step of 4 x 8, 64 + 64 tokens; 8 and 64 sequences") {
    const StageCost step = cost_of(rollout_and_update(4, 8, 64), "smollm2-135m", cpu, 64, 64);
    near(step.sample, 2.4);
    near(step.train, 6.8 * 8.04 / 9.2);  // the shares are of the run before, its sum was 9.2
    near(step.seconds(), 8.04);
    near(cost_of(rollout_and_update(64, 1, 64), "smollm2-135m", cpu, 64, 64).sample, 64 * 64 / 673.3);
    near(cost_of(rollout_and_update(8, 1, 64), "smollm2-135m", cpu, 64, 64).sample, 8 * 64 / 493.4);
    near(cost_of(rollout_and_update(1, 1, 64), "smollm2-135m", cpu, 64, 64).sample, 64 / 92.0);
  }
  SUBCASE("Qwen2.5-0.5B on one H100: whole steps") {
    const StageCost few = cost_of(rollout_and_update(32, 8, 512), "qwen2.5-0.5b", h100, 128, 512);
    near(few.sample, 0.956);
    near(few.train, 1.051);
    const StageCost many = cost_of(rollout_and_update(128, 8, 256), "qwen2.5-0.5b", h100, 128, 256);
    near(many.sample, 1.00);
    near(many.train, 2.12);
  }
}

TEST_CASE("what is assumed and what is given is said") {
  StageLoad load = rollout_and_update(4, 8, 100);
  load.all_samples = false, load.group = 8;
  StageKnown nothing, some;
  nothing.data = DataSize{50, 30, 0};
  const StageSizes assumed = stage_sizes(load, nothing);
  CHECK(assumed.new_tokens == doctest::Approx(250 * (1 - std::exp(-0.4))));
  CHECK(assumed.prompt_tokens == 30);
  CHECK(assumed.mixed == doctest::Approx(0.607).epsilon(0.001));
  CHECK(assumed.said == std::vector<std::string>{"prompt_tokens 30 (data)", "new_tokens 82.4 (assumed)", "mixed 0.607 (assumed)"});
  some.expect = {{"new_tokens", 20}, {"mixed", 1}};
  const StageSizes given = stage_sizes(load, some);
  CHECK(given.new_tokens == 20);
  CHECK(given.said[1] == "new_tokens 20 (expect)");
  some.expect.clear();
  some.writing = measured_writing(20, 100, 0.5, "measured in zero");
  CHECK(stage_sizes(load, some).said[1] == "new_tokens 20 (measured in zero)");
  CHECK(stage_sizes(load, some).mixed == doctest::Approx(1 - 2.0 / 256));
  const ModelSize model = size_of(model_shape("smollm2-135m"), "m");
  // Half of the completions learnt from: half of the time; twice the updates: twice of it.
  const DeviceRates cpu = logged_cpu();
  const ModelSpeeds speeds = speeds_of(model, cpu);
  StageLoad half = load;
  StageSizes sizes = given;
  const double whole = stage_cost(load, sizes, model, std::nullopt, cpu, speeds).tokens_trained;
  sizes.mixed = 0.5;
  CHECK(stage_cost(half, sizes, model, std::nullopt, cpu, speeds).tokens_trained == doctest::Approx(whole / 2));
  half.drawings[0].times = 2;
  CHECK(stage_cost(half, sizes, model, std::nullopt, cpu, speeds).tokens_trained == doctest::Approx(whole));
}

TEST_CASE("processors' seconds and the clock's") {
  const ModelSize model = size_of(model_shape("smollm2-135m"), "m");
  DeviceRates cpu = logged_cpu();
  cpu.threads = 4;
  const StageLoad load = rollout_and_update(4, 8, 64);
  const StageSizes sizes = stage_sizes(load, {});
  ModelSpeeds speeds = speeds_of(model, cpu);
  const StageCost quiet = stage_cost(load, sizes, model, std::nullopt, cpu, speeds);
  CHECK(quiet.processors == doctest::Approx(4 * (quiet.sample + quiet.train) + quiet.other));  // what is around them is one thread's work
  speeds.sample_clock *= 3, speeds.train_clock *= 3;  // two others want these processors
  const StageCost busy = stage_cost(load, sizes, model, std::nullopt, cpu, speeds);
  CHECK(busy.processors == quiet.processors);
  CHECK(busy.seconds() == doctest::Approx(3 * quiet.seconds()));
  CHECK(stage_cost(load, sizes, model, std::nullopt, device_rates("h100", 1), speeds_of(model, device_rates("h100", 1))).processors == 0);
}

TEST_CASE("what a stage learns from and reads beside it") {
  const ModelSize model = size_of(model_shape("smollm2-135m"), "m");
  const DeviceRates cpu = logged_cpu();
  const ModelSpeeds speeds = speeds_of(model, cpu);
  const auto cost = [&](const StageLoad& load, const StageKnown& known) { return stage_cost(load, stage_sizes(load, known), model, std::nullopt, cpu, speeds); };
  StageLoad pairs;
  pairs.model = "m", pairs.learns = StageLoad::Learns::kExamples, pairs.per_update = 8, pairs.sequences = 2, pairs.scores = true;
  StageKnown some;
  some.data = DataSize{48, 54, 16};
  CHECK(cost(pairs, some).tokens_trained == 48 * (54 + 16));  // the prompt of a pair is computed once
  // LoRA on the CPU makes the whole gradient; on a GPU it does not.
  StageLoad whole = pairs, few = pairs;
  whole.sequences = few.sequences = 1, few.lora = LoraOptions{};
  CHECK(cost(few, some).train > cost(whole, some).train);
  const DeviceRates gpu = device_rates("h200", 1);
  CHECK(stage_cost(few, stage_sizes(few, some), model, std::nullopt, gpu, speeds_of(model, gpu)).train <
        stage_cost(whole, stage_sizes(whole, some), model, std::nullopt, gpu, speeds_of(model, gpu)).train);
  CHECK(lora_elements(*model.config, LoraOptions{}) == 30 * 16 * (2 * (576 + 576) + 2 * (576 + 192) + 3 * (576 + 1536)));
  CHECK(lora_elements(*model.config, LoraOptions{.rank = 4, .targets = {"q_proj"}}) == 30 * 4 * (576 + 576));

  // What is drawn after updates, in a run whose updates the data's rows decide: 6 of them, 3 times.
  StageLoad evaluated = whole;
  evaluated.drawings = {{"evaluation", 10, 1, 1, 20, 2, {}}};
  CHECK(cost(evaluated, some).tokens_drawn == (1 + 3) * 10 * 16);

  StageLoad rl = rollout_and_update(4, 8, 64);
  const double plain = cost(rl, {}).seconds();
  rl.scorers = 1;  // reads every completion
  CHECK(cost(rl, {}).sample > 1.2 * cost(rollout_and_update(4, 8, 64), {}).sample);
  rl.scorers = 0, rl.old_passes = 0.5;
  CHECK(cost(rl, {}).seconds() > plain);
}

TEST_CASE("the share of groups with a signal: drawn, of a reward model, and what it means for memory") {
  StageLoad load = rollout_and_update(16, 8, 100);
  load.all_samples = false, load.group = 8;
  StageKnown known;
  known.signal = 0.2;
  CHECK(stage_sizes(load, known).mixed == doctest::Approx(0.2));  // one rollout
  load.drawings[0].times = 20;
  CHECK(stage_sizes(load, known).mixed > 0.35);
  known.signal = 0.5 / 17;  // none of 16: it does not begin to learn
  CHECK(stage_sizes(load, known).mixed == doctest::Approx(0.5 / 17));
  CHECK(rows_at_once(load, stage_sizes(load, known), 0) < 0.2 * 16 * (100 + 8 * stage_sizes(load, known).new_tokens));
  load.scorers = 1;
  CHECK(stage_sizes(load, known).mixed == 1);
  CHECK(rows_at_once(load, stage_sizes(load, known), 0) == doctest::Approx(16 * (100 + 8 * stage_sizes(load, known).new_tokens)));
}

TEST_CASE("a GPU's pass is counted as it is laid out") {
  const ModelConfig config = model_shape("smollm2-135m");
  const auto bytes = [&](std::int64_t rows, GpuHeadKind head, bool keep, bool recompute) {
    return static_cast<double>(gpu_pass_bytes(config, rows, rows, {head, keep, recompute}));
  };
  const double kept = bytes(8192, GpuHeadKind::kLogprobs, true, false);
  // 29 of 30 layers' rows are made again: h_mid, q k v, attention, gate and up, log-sum-exp, two reciprocals.
  const double layer = 4 * 576 + 2 * (960 + 576 + 2 * 1536) + 4 * 9 + 8;
  CHECK(kept - bytes(8192, GpuHeadKind::kLogprobs, true, true) == doctest::Approx(29 * 8192 * layer));
  // Scores need neither logits nor their gradient, nor four numbers and a scaled row of each predictor.
  CHECK(kept - bytes(8192, GpuHeadKind::kScores, true, false) == doctest::Approx(2048.0 * 49152 * 6 + 8192 * (12 + 2 * 576)));
  CHECK(bytes(8192, GpuHeadKind::kLogprobs, false, false) < 0.2 * kept);
  // What the plan of a stage says is this.
  StageLoad load = rollout_and_update(4, 8, 100);
  load.tokens_per_micro_batch = 8192;
  const auto lines = stage_memory(load, stage_sizes(load, {}), size_of(config, "m"), std::nullopt, device_rates("h100", 1)).lines;
  CHECK(lines.at(2).find("micro-batches of 8,192 tokens take " + human_bytes(static_cast<std::uint64_t>(kept))) != std::string::npos);
}

TEST_CASE("models that are not on the disk are known by name; memory that does not fit is said") {
  CHECK(known_model_size("Qwen/Qwen2.5-0.5B-Instruct")->parameters == static_cast<double>(model_shape("qwen2.5-0.5b").num_parameters()));
  CHECK(known_model_size("Qwen/Qwen2.5-Math-1.5B")->layers == 28);
  CHECK(known_model_size("deepseek-ai/DeepSeek-V3-Base")->active == 37e9);
  CHECK(known_model_size("deepseek-ai/deepseek-math-7b-instruct")->layers == 30);
  CHECK_FALSE(known_model_size("somebody/else-3b").has_value());
  const StageLoad load = rollout_and_update(4, 8, 100);
  const StageSizes sizes = stage_sizes(load, {});
  const DeviceRates h100 = device_rates("h100", 1);
  CHECK(stage_memory(load, sizes, *known_model_size("deepseek-v3"), std::nullopt, h100).lines.at(0).find("does not fit on one h100") == 0);
  const auto fits = stage_memory(load, sizes, *known_model_size("qwen2.5-7b"), std::nullopt, h100).lines;
  CHECK(fits.at(0).find("does not fit") == std::string::npos);
  CHECK_THROWS_WITH_AS(device_rates("tpu", 1), "--device tpu: no rates are known for it; known are cpu (this machine), h100, h200", ConfigError);
}

}  // namespace r1
