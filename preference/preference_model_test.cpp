// Reward models and DPO on a tiny Llama: loss and parameter gradients equal TRL's, packing changes nothing, both learn, resume is exact.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <fstream>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/rng.h"
#include "preference/dpo_objective.h"
#include "preference/reward_objective.h"
#include "preference/test_support.h"
#include "rl/host_lora.h"
#include "sft/packing.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

using nlohmann::json;
using test::TinyModel;
using test::toy_pairs;

const std::string kGolden = R1_SOURCE_DIR "/tests/golden/";

json fixture() { return json::parse(std::ifstream(kGolden + "trl_preference.json"))["model"]; }

// Its rows: chosen x 3, rejected x 3.
PreferenceSet fixture_set(const json& f) {
  std::vector<test::TokenPair> pairs;
  for (int i = 0; i < 3; ++i) pairs.push_back({f["rows"][i]["prompt"], f["rows"][i]["answer"], f["rows"][i + 3]["answer"]});
  return test::pair_set(pairs);
}

double relative_distance(const float* a, const TensorView& wanted) {
  const auto* b = reinterpret_cast<const float*>(wanted.data);
  double d = 0, norm = 0;
  for (std::int64_t i = 0; i < wanted.elements(); ++i) d += (double{a[i]} - b[i]) * (double{a[i]} - b[i]), norm += double{b[i]} * b[i];
  return std::sqrt(d / norm);
}

double relative_distance(const std::vector<float>& a, const std::vector<float>& b) {
  double d = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) d += (double{a[i]} - b[i]) * (double{a[i]} - b[i]), norm += double{b[i]} * b[i];
  return std::sqrt(d / norm);
}

// The gradient of one update over all examples.
std::vector<float> gradient_of(ExampleObjective& objective, std::int64_t budget, Metrics& metrics) {
  std::vector<std::int64_t> all(static_cast<std::size_t>(objective.size()));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int64_t>(i);
  objective.model().zero_gradient();
  const std::vector<std::int64_t> rows = objective.begin_update(0, all);
  for (const auto& part : pack_best_fit(rows, budget)) objective.train(part);
  metrics = objective.report();
  return objective.model().gradient();
}

struct Recorder : TrainObserver {
  void on_step(const StepRecord& r) override { steps.push_back(r.metrics); }
  void on_validation(std::int64_t, const Metrics& m) override { validations.push_back(m); }
  std::vector<Metrics> steps, validations;
};

ExampleTrainerOptions options_for(std::int64_t n, double epochs, std::int64_t batch, double rate) {
  ExampleTrainerOptions o;
  o.examples_per_update = batch;
  o.epochs = epochs;
  o.loop.steps = updates_for(epochs, n, batch);
  o.loop.eval_every = 1'000'000;
  o.loop.save_every = 3;
  o.loop.seed = 7;
  o.optimizer.learning_rate.peak = rate;
  o.tokens_per_micro_batch = 64;
  return o;
}

}  // namespace

TEST_CASE("a reward model on a tiny Llama: scores, loss and gradients equal TRL's, for any split") {
  const json f = fixture();
  const SafetensorsFile wanted(kGolden + "trl_preference/gradients.safetensors");
  TinyModel tiny;
  TransformerValue model(*tiny.model, {});
  WeightSnapshot start = tiny.model->weights().snapshot(0);
  start.tensors.push_back(wanted.at("score.weight"));
  model.load(start);
  PreferenceSet set = fixture_set(f);
  mark_for_scores(set);
  const auto by_model = [&](const PackedBatch& batch, std::span<const std::int32_t> rows) { return model.evaluate(batch, rows); };
  const std::vector<float> scores = score_samples(by_model, set.samples, 1000);
  for (int i = 0; i < 6; ++i) CHECK(scores[i] == doctest::Approx(f["reward"]["scores"][i % 2 * 3 + i / 2].get<double>()).epsilon(1e-5));
  RewardObjective objective(model, set, set, {f["reward"]["centring"]});
  Metrics metrics;
  const std::vector<float> gradient = gradient_of(objective, 1000, metrics);
  CHECK(std::abs(metrics.at("loss") - f["reward"]["loss"].get<double>()) <= 2e-6);
  int compared = 0;
  for (const Parameter& p : tiny.model->weights().parameters()) {
    CAPTURE(p.name);
    CHECK(relative_distance(gradient.data() + p.offset, wanted.at("reward." + p.name)) < 3e-5);
    ++compared;
  }
  CHECK(relative_distance(gradient.data() + tiny.model->weights().elements(), wanted.at("reward.score.weight")) < 3e-5);
  CHECK(compared == 20);
  for (std::int64_t budget : {1, 20}) {
    CHECK(relative_distance(gradient_of(objective, budget, metrics), gradient) < 2e-6);
    CHECK(std::abs(metrics.at("loss") - f["reward"]["loss"].get<double>()) <= 2e-6);
  }
  const Metrics held_out = objective.evaluate(20);
  CHECK(held_out.at("eval/loss") == doctest::Approx(metrics.at("loss")).epsilon(1e-6));
  CHECK(held_out.at("eval/margin") == doctest::Approx(metrics.at("margin")).epsilon(1e-6));
  CHECK(held_out.at("eval/accuracy_low") < held_out.at("eval/accuracy"));
  CHECK(objective.scored().size() == 3);
}

TEST_CASE("DPO on a tiny Llama: loss, metrics and gradients equal TRL's, for any split; the reference is asked once") {
  const json f = fixture();
  const SafetensorsFile wanted(kGolden + "trl_preference/gradients.safetensors");
  TinyModel tiny;
  TransformerPolicy policy(*tiny.model);
  const PreferenceSet set = fixture_set(f);
  std::vector<double> ref(6);
  for (int i = 0; i < 6; ++i) ref[i] = f["dpo"]["ref"][i % 2 * 3 + i / 2];
  DpoOptions options;
  options.beta = f["dpo"]["beta"];
  DpoObjective objective(policy, {set, ref}, {}, options);
  Metrics metrics;
  const std::vector<float> gradient = gradient_of(objective, 1000, metrics);
  CHECK(std::abs(metrics.at("loss") - f["dpo"]["loss"].get<double>()) <= 2e-6);
  for (const auto& [name, value] : f["dpo"]["metrics"].items()) {
    CAPTURE(name);
    CHECK(metrics.at(name) == doctest::Approx(value.get<double>()).epsilon(2e-6));
  }
  for (const Parameter& p : tiny.model->weights().parameters()) {
    CAPTURE(p.name);
    CHECK(relative_distance(gradient.data() + p.offset, wanted.at("dpo." + p.name)) < 3e-5);
  }
  for (std::int64_t budget : {1, 20}) CHECK(relative_distance(gradient_of(objective, budget, metrics), gradient) < 2e-6);

  const test::TempDir dir;
  const std::vector<double> own = answer_logprobs(policy, set.samples, 20);
  CHECK(own == answer_logprobs(policy, set.samples, 1000));
  CHECK(cached_answer_logprobs(dir / "ref.safetensors", policy, policy.digest(), set.samples, 1000) == own);
  struct Silent : ScoringModel {
    LogprobRows evaluate(const PackedBatch&, float, bool) override { throw Error("asked again"); }
    WeightSnapshot weights(WeightVersion) const override { return {}; }
    void load(const WeightSnapshot&) override {}
  } silent;
  CHECK(cached_answer_logprobs(dir / "ref.safetensors", silent, policy.digest(), set.samples, 1000) == own);
  WeightDigest other = policy.digest();
  other[0] ^= 1;
  CHECK_THROWS_WITH(cached_answer_logprobs(dir / "ref.safetensors", silent, other, set.samples, 1000), "asked again");

  // At the reference the loss is ln 2 and rewards are 0.
  DpoObjective fresh(policy, {set, own}, {set, own}, options);
  const Metrics start = fresh.evaluate(1000);
  CHECK(start.at("eval/loss") == doctest::Approx(std::log(2)).epsilon(1e-12));
  CHECK(start.at("eval/rewards/margins") == 0);
}

TEST_CASE("a reward model learns a toy preference to more than 95 % of held-out pairs, and labelled answers") {
  for (bool pairs : {true, false}) {
    CAPTURE(pairs);
    TinyModel tiny(DType::kBF16, 2);
    TransformerValue::Options head;
    head.head_std = 0.02;
    TransformerValue model(*tiny.model, head);
    PreferenceSet train = toy_pairs(192, 1), held_out = toy_pairs(200, 2);
    for (PreferenceSet* set : {&train, &held_out}) {
      if (!pairs) {
        set->pairs = false;
        for (std::size_t i = 0; i < set->samples.size(); ++i) set->samples[i].group = i, set->labels.push_back(i % 2 == 0);
      }
      mark_for_scores(*set);
    }
    RewardObjective objective(model, train, held_out, {pairs ? 0.01 : 0.0});
    ExampleTrainerOptions o = options_for(train.size(), 4, 16, 3e-3);
    o.tokens_per_micro_batch = 1024;
    Recorder recorder;
    ExampleTrainer trainer("reward_model", {&objective, nullptr, {&recorder}, {}}, o);
    trainer.run();
    REQUIRE(recorder.validations.size() == 2);
    CHECK(recorder.validations.front().at("eval/accuracy") < 0.8);
    CHECK(recorder.validations.back().at("eval/accuracy_low") > 0.95);
    if (pairs) CHECK(recorder.validations.back().at("eval/margin") > 1);
    CHECK(recorder.steps.back().at("loss") < recorder.steps.front().at("loss"));
    CHECK(recorder.steps.back().at("epoch") == 4);
  }
}

TEST_CASE("DPO moves the margins of held-out pairs, and a killed run ends with the same weights") {
  const PreferenceSet train = toy_pairs(40, 3), held_out = toy_pairs(60, 4);
  const auto run = [&](const std::filesystem::path& dir, std::int64_t steps, Recorder* recorder) {
    TinyModel tiny(DType::kBF16);
    TransformerPolicy policy(*tiny.model);
    DpoOptions options;
    options.beta = 0.1;
    DpoObjective objective(policy, {train, answer_logprobs(policy, train.samples, 256)}, {held_out, answer_logprobs(policy, held_out.samples, 256)},
                           options);
    ExampleTrainerOptions o = options_for(train.size(), 4, 8, 2e-3);
    o.loop.save_every = 7;
    o.loop.steps = steps;
    ModelCheckpointStore store(dir, tiny.directory.config(), {});
    ExampleTrainer trainer("dpo", {&objective, &store, recorder ? std::vector<TrainObserver*>{recorder} : std::vector<TrainObserver*>{}, {}}, o);
    trainer.resume();
    trainer.run();
    CHECK(trainer.step() == steps);
    return policy.digest();
  };
  const test::TempDir a, b;
  Recorder recorder;
  const WeightDigest whole = run(a.path(), 20, &recorder);
  CHECK(recorder.validations.front().at("eval/rewards/margins") == 0);
  CHECK(recorder.validations.back().at("eval/rewards/margins") > 0.5);
  CHECK(recorder.validations.back().at("eval/rewards/accuracies") > 0.9);
  CHECK(recorder.steps.front().at("loss") == doctest::Approx(std::log(2)).epsilon(1e-9));
  run(b.path(), 4, nullptr);
  CHECK(run(b.path(), 20, nullptr) == whole);
}

TEST_CASE("a reward model's run resumes bit for bit, head included; its checkpoint is a scorer's directory") {
  const auto run = [](const std::filesystem::path& dir, std::int64_t steps, bool lora) {
    TinyModel tiny(DType::kBF16);
    TransformerValue::Options head;
    head.head_std = 0.1;
    std::unique_ptr<ValueModel> model;
    if (lora) model = with_lora(*tiny.model, head, LoraAdapter(tiny.model->config(), {.rank = 4, .alpha = 8, .seed = 2, .dropout = 0.2}));
    else model = std::make_unique<TransformerValue>(*tiny.model, head);
    PreferenceSet train = toy_pairs(24, 6);
    mark_for_scores(train);
    RewardObjective objective(*model, train, {}, {});
    ExampleTrainerOptions o = options_for(train.size(), 2, 8, 1e-3);
    o.loop.steps = steps;
    SaveCheckpointOptions save;
    save.dtype = DType::kBF16;
    ModelCheckpointStore store(dir, tiny.directory.config().as_scorer(), save);
    ExampleTrainer trainer("reward_model", {&objective, &store, {}, {}}, o);
    trainer.resume();
    trainer.run();
    return model->digest();
  };
  for (const bool lora : {false, true}) {
    CAPTURE(lora);
    const test::TempDir a, b;
    const WeightDigest whole = run(a.path(), 6, lora);
    run(b.path(), 2, lora);
    CHECK(run(b.path(), 6, lora) == whole);
    const ModelDirectory saved(a / "latest");
    CHECK(saved.config().scalar_head);
    CHECK(saved.snapshot().tensors.back().name == "score.weight");
  }
}

TEST_CASE("LoRA in a reward model and in DPO: pairs and head learn, every other weight stays") {
  const PreferenceSet train = toy_pairs(96, 1), held_out = toy_pairs(100, 2);
  for (const bool reward : {true, false}) {
    CAPTURE(reward);
    TinyModel tiny(DType::kBF16, 2);
    WeightStore before(tiny.model->config(), DType::kBF16);
    before.load(tiny.model->weights().snapshot(0));
    const LoraAdapter adapter(tiny.model->config(), {.rank = 4, .alpha = 16, .targets = {"q_proj", "v_proj", "down_proj"}, .dropout = 0.1});
    TransformerValue::Options head;
    head.head_std = 0.02;
    std::unique_ptr<LoraValue> value;
    std::unique_ptr<LoraPolicy> policy;
    std::unique_ptr<ExampleObjective> objective;
    PreferenceSet marked = train, marked_held_out = held_out;
    if (reward) {
      mark_for_scores(marked), mark_for_scores(marked_held_out);
      value = with_lora(*tiny.model, head, adapter);
      objective = std::make_unique<RewardObjective>(*value, marked, marked_held_out, RewardOptions{});
    } else {
      policy = with_lora(*tiny.model, TransformerPolicy::Options{}, adapter);
      objective = std::make_unique<DpoObjective>(*policy, DpoObjective::Data{train, answer_logprobs(*policy, train.samples, 256)},
                                                 DpoObjective::Data{held_out, answer_logprobs(*policy, held_out.samples, 256)}, DpoOptions{});
    }
    ExampleTrainerOptions o = options_for(train.size(), 6, 16, 1e-2);
    o.tokens_per_micro_batch = 256;
    Recorder recorder;
    ExampleTrainer(reward ? "reward_model" : "dpo", {objective.get(), nullptr, {&recorder}}, o).run();
    const char* accuracy = reward ? "eval/accuracy" : "eval/rewards/accuracies";
    CHECK(recorder.validations.front().at(accuracy) < 0.8);
    CHECK(recorder.validations.back().at(accuracy) > 0.9);
    std::int64_t moved = 0;
    for (const Parameter& p : before.parameters()) {
      CAPTURE(p.name);
      const bool chosen = p.name.ends_with("q_proj.weight") || p.name.ends_with("v_proj.weight") || p.name.ends_with("down_proj.weight");
      const bool same = std::memcmp(before.at(p), tiny.model->weights().at(p), static_cast<std::size_t>(p.elements) * 2) == 0;
      CHECK((chosen || same));
      moved += !same;
    }
    CHECK(moved > 0);
  }
}

}  // namespace r1
