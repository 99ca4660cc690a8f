// GRPO on tiny random DeepSeek V2 and V3 and Qwen3-MoE shapes: rollout and learner agree exactly, the reward rises, a cut run ends
// with the same bits; routing replay, the balance loss, and the correction bias.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "rl/transformer_run.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

using test::TransformerRun;

struct Log : TrainObserver {
  std::vector<std::map<std::string, double>> steps;
  void on_step(const StepRecord& r) override { steps.push_back(r.metrics); }
};

test::TransformerRunOptions options_for(const std::string& family) {
  test::TransformerRunOptions o = test::tiny_options();
  o.config = "tests/golden/model/" + family + "/config.json";
  return o;
}

std::vector<std::map<std::string, double>> metrics_of(const test::TransformerRunOptions& o) {
  Log log;
  TransformerRun run(o, {}, {&log});
  run.trainer->run();
  return log.steps;
}

}  // namespace

TEST_CASE("GRPO on V2, V3 and Qwen3-MoE: exact on every step, the reward rises") {
  for (const std::string family : {"tiny-v2", "tiny-v3", "tiny-qwen3-moe"})
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      CAPTURE(family);
      test::TransformerRunOptions o = options_for(family);
      o.dtype = dtype;
      o.trainer.steps = 24;
      o.grpo.exact = true;
      o.grpo.loss.kl_coefficient = 0;
      o.grpo.reference_refresh = 0;
      o.grpo.updates_per_rollout = 1;
      o.trainer.samples_per_prompt = 8;
      o.grpo.optimizer.learning_rate.peak = 1e-2;
      if (family == "tiny-v3") o.grpo.router.bias_update = 0.001;
      const auto steps = metrics_of(o);
      REQUIRE(steps.size() == 24);
      int trained = 0;
      for (const auto& m : steps) {
        CHECK(m.at("moe/dropped") == 0);
        if (m.at("train/rows") == 0) continue;  // every answer of every group is right
        ++trained;
        CHECK(m.at("mismatch/max_abs_logp") == 0);
        CHECK(m.at("moe/load_max_over_mean") > 1);
      }
      CHECK(trained >= 8);
      const auto reward = [&](std::size_t i) { return (steps[i].at("reward") + steps[i + 1].at("reward") + steps[i + 2].at("reward")) / 3; };
      MESSAGE(family, std::string(dtype == DType::kF32 ? " float32" : " bfloat16"), ": reward ", reward(0), " -> ", reward(21));
      CHECK(reward(0) < 0.65);
      CHECK(reward(21) > 0.9);
    }
}

TEST_CASE("V3 with everything in use: a cut run ends with the same bits, biases included") {
  test::TransformerRunOptions o = options_for("tiny-v3");
  o.trainer.save_every = 1;
  o.trainer.steps = 4;
  o.grpo.router = {true, 0.01, 0.01};
  const auto whole = [&] {
    TransformerRun run(o, {});
    run.trainer->run();
    const WeightStore& store = run.model->weights();
    const Parameter& bias = store.buffers().front();
    CHECK(std::any_of(store.buffer(bias), store.buffer(bias) + bias.elements, [](float b) { return b != 0; }));
    return run.policy->digest();
  };
  const WeightDigest want = whole();
  for (std::int64_t cut : {1, 3}) {
    CAPTURE(cut);
    const test::TempDir dir;
    test::run_cut(o, cut, dir.path());
    TransformerRun run(o, dir.path());
    CHECK(run.trainer->resume() == cut);
    run.trainer->run();
    CHECK(run.policy->digest() == want);
  }
}

TEST_CASE("routing replay: without it the second update's tokens may meet other experts, with it none does; GSPO runs on experts") {
  for (const bool replay : {false, true}) {
    CAPTURE(replay);
    test::TransformerRunOptions o = options_for("tiny-qwen3-moe");
    o.grpo.router.replay = replay;
    o.grpo.loss.ratio_level = parse_ratio_level("sequence");  // GSPO
    o.grpo.loss.kl_coefficient = 0;
    o.grpo.reference_refresh = 0;
    o.grpo.updates_per_rollout = 1;
    o.grpo.passes_per_rollout = 3;
    o.grpo.optimizer.learning_rate.peak = 1e-2;
    const auto steps = metrics_of(o);
    for (std::size_t i = 0; i < steps.size(); ++i) {
      CHECK(steps[i].at("mismatch/max_abs_logp") == 0);
      CHECK(std::isfinite(steps[i].at("ratio/max")));
    }
    CHECK(steps[0].at("ratio/max") == 1);
    CHECK(steps[2].at("ratio/max") != 1);
  }
}

TEST_CASE("the balance loss lowers the load of the favourite, and is refused for a model without experts") {
  test::TransformerRunOptions o = options_for("tiny-qwen3-moe");
  o.trainer.steps = 20;
  o.grpo.loss.kl_coefficient = 0;
  o.grpo.reference_refresh = 0;
  const auto plain = metrics_of(o);
  o.grpo.router.balance_loss = 0.5;
  const auto balanced = metrics_of(o);
  MESSAGE("largest load over the mean after 20 updates: ", plain.back().at("moe/load_max_over_mean"), " without, ",
          balanced.back().at("moe/load_max_over_mean"), " with the loss");
  CHECK(balanced.back().at("moe/load_max_over_mean") < plain.back().at("moe/load_max_over_mean"));
  CHECK(balanced.front().at("moe/balance_loss") > balanced.back().at("moe/balance_loss"));
  CHECK_FALSE(plain.back().contains("moe/balance_loss"));

  test::TransformerRunOptions dense = test::tiny_options();
  dense.grpo.router.balance_loss = 0.1;
  CHECK_THROWS_AS(metrics_of(dense), ConfigError);
  dense.grpo.router = {false, 0, 0.1};
  CHECK_THROWS_AS(metrics_of(dense), ConfigError);
}

TEST_CASE("a prediction layer that is trained on samples guesses more of them; guesses change no bit of a run") {
  test::TransformerRunOptions o = options_for("tiny-v3");
  o.prediction_layers = 1;
  o.grpo.loss.kl_coefficient = 0;
  o.grpo.reference_refresh = 0;
  o.trainer.steps = 2;
  o.trainer.sampling.max_new_tokens = 24;
  o.grpo.length_budget = 24;
  const auto digest_of = [&](bool speculative) {
    test::TransformerRunOptions run_options = o;
    run_options.engine.speculative = speculative;
    TransformerRun run(run_options, {});
    run.trainer->run();
    if (speculative) CHECK(run.engine->stats().drafted_tokens > 50);
    return run.policy->digest();
  };
  CHECK(digest_of(false) == digest_of(true));

  o.engine.speculative = true;
  o.dtype = DType::kF32;
  TransformerRun run(o, {});
  const auto sample = [&](std::uint64_t seed) {
    RolloutRequest r;
    r.prompt = test::make_prompt("p", {5, 9, 3});
    r.samples = 24;
    r.sampling.max_new_tokens = 40;
    r.sampling.ignore_eos = true;
    r.key.seed = seed;
    const EngineStats before = run.engine->stats();
    run.engine->submit(r);
    std::vector<Completion> out;
    run.engine->wait([&](RolloutEvent&& e) { out.push_back(std::move(e.completion)); });
    const EngineStats after = run.engine->stats();
    return std::pair(out, static_cast<double>(after.accepted_tokens - before.accepted_tokens) / static_cast<double>(after.drafted_tokens - before.drafted_tokens));
  };
  const double before = sample(1).second;
  for (std::uint64_t update = 1; update <= 120; ++update) {
    PackedBatch batch;
    const std::vector<Completion> list = sample(100 + update).first;
    for (const Completion& c : list) {
      std::vector<TokenId> tokens = {5, 9, 3};
      tokens.insert(tokens.end(), c.tokens.begin(), c.tokens.end());
      const auto begin = static_cast<std::int32_t>(batch.tokens.size());
      for (std::size_t i = 0; i + 1 < tokens.size(); ++i) {
        batch.predictors.push_back(static_cast<std::int32_t>(batch.tokens.size()));
        batch.targets.push_back(tokens[i + 1]);
        batch.tokens.push_back(tokens[i]);
        batch.positions.push_back(static_cast<std::int32_t>(i));
      }
      batch.sequences.push_back({begin, static_cast<std::int32_t>(batch.tokens.size()), -1, -1});
    }
    run.policy->zero_gradient();
    run.policy->set_prediction_loss(1.0 / static_cast<double>(batch.targets.size()));
    run.policy->forward(batch, 1.f, false);
    run.policy->backward(std::vector<float>(batch.targets.size(), 0.f), {});
    AdamWStep step;
    step.learning_rate = 1e-2;
    step.update = static_cast<std::int64_t>(update);
    run.policy->adamw(step);
    run.engine->load_weights(run.policy->weights(1000 + update));
  }
  const double after = sample(2).second;
  MESSAGE("guesses accepted: ", before, " untrained, ", after, " trained");
  CHECK(after > before + 0.1);
}

}  // namespace r1
