#include "rl/transformer_policy.h"

#include "rl/activation_plan.h"

#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <numeric>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "model/hf_directory.h"
#include "rl/learner.h"
#include "rl/transformer_run.h"

namespace r1 {
namespace {

using nlohmann::json;
const std::string kTiny = R1_SOURCE_DIR "/tests/golden/trl_tiny";

// Hands out the fixture's reference log-probabilities in the order of the targets (samples in order, one micro-batch).
class FixtureReference : public ScoringModel {
 public:
  explicit FixtureReference(std::vector<float> values) : values_(std::move(values)) {}
  LogprobRows evaluate(const PackedBatch& batch, float, bool) override {
    REQUIRE(batch.targets.size() == values_.size());
    return {values_, {}};
  }
  WeightSnapshot weights(WeightVersion) const override { return {}; }
  void load(const WeightSnapshot&) override {}

 private:
  std::vector<float> values_;
};

double relative_distance(std::span<const float> a, std::span<const float> b) {
  double d = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    d += (double{a[i]} - b[i]) * (double{a[i]} - b[i]), norm += double{b[i]} * b[i];
  return std::sqrt(d / norm);
}

}  // namespace

TEST_CASE("a tiny Llama: loss and parameter gradients equal TRL's") {
  const json batch = json::parse(std::ifstream(kTiny + "/batch.json"));
  const SafetensorsFile wanted(kTiny + "/gradients.safetensors");
  std::vector<TrainSample> samples;
  std::vector<float> ref, base;
  for (int row = 0; row < 4; ++row) {
    TrainSample s;
    s.name = message("row ", row);
    s.tokens = batch["prompt"].get<std::vector<TokenId>>();
    s.prompt_length = static_cast<std::int32_t>(s.tokens.size());
    s.loss_mask.assign(s.tokens.size(), 0);
    s.behavior_logprobs.assign(s.tokens.size(), 0.f);
    s.advantages.assign(s.tokens.size(), 0.f);
    for (int col = 0; col < 7; ++col) {
      if (batch["mask"][row][col] == 0) continue;
      s.tokens.push_back(batch["completions"][row][col]);
      s.loss_mask.push_back(1);
      s.behavior_logprobs.push_back(batch["old_logps"][row][col]);
      s.advantages.push_back(batch["advantages"][row]);
      ref.push_back(batch["ref_logps"][row][col]);
      base.push_back(batch["logps"][row][col]);
    }
    samples.push_back(s);
  }
  ComputePool pool(1);
  int compared = 0;
  for (const json& c : batch["cases"]) {
    CAPTURE(c["name"]);
    const ModelDirectory directory(kTiny);
    Transformer model(directory.config(), DType::kF32, pool);
    directory.load_into(model.weights());
    model.weights_changed();
    TransformerPolicy policy(model);
    FixtureReference reference(ref);
    GrpoOptions o;
    o.old_policy = OldPolicy::kBehavior;  // the fixture's old log-probabilities are the ratio's denominator
    o.loss.surrogate.set("clip_high", 0.2);
    o.loss.mismatch = MismatchOptions("none");
    o.loss.kl_coefficient = c["beta"];
    o.length_budget = batch["max_completion_length"];
    o.optimizer.max_grad_norm = 0;
    const std::string type = c["loss_type"];
    o.loss.aggregation = type == "grpo"      ? Aggregation::kSeqMeanTokenMean
                         : type == "dr_grpo" ? Aggregation::kSeqMeanTokenSumNorm
                                             : Aggregation::kTokenMean;
    std::vector<std::int32_t> all(samples.size());
    std::iota(all.begin(), all.end(), 0);
    const LogprobRows rows = policy.evaluate(build_micro_batch(samples, all).batch, 1.f, false);
    for (std::size_t i = 0; i < base.size(); ++i) CHECK(rows.logprobs[i] == doctest::Approx(base[i]).epsilon(2e-5));
    GrpoLearner learner(policy, &reference, o);
    learner.begin_rollout(samples, 0);
    const StepReport report = learner.update();
    CHECK(std::abs(report.metrics.at("loss") - c["loss"].get<double>()) <= 2e-6);
    if (!c["has_gradients"]) continue;
    const std::vector<float> gradient = policy.gradient();
    for (const Parameter& p : model.weights().parameters()) {
      CAPTURE(p.name);
      const TensorView& want = wanted.at(c["name"].get<std::string>() + "." + p.name);
      REQUIRE(want.elements() == p.elements);
      const auto* data = reinterpret_cast<const float*>(want.data);
      CHECK(relative_distance({gradient.data() + p.offset, static_cast<std::size_t>(p.elements)},
                              {data, static_cast<std::size_t>(p.elements)}) < 2e-5);
      ++compared;
    }
  }
  CHECK(compared >= 5 * 20);
}

TEST_CASE("transformer: the gradient does not depend on packing and micro-batches; equal plans give equal bits") {
  ComputePool pool(2);
  const ModelDirectory directory(kTiny);
  const auto gradient = [&](std::int64_t budget, bool recompute, bool own_groups) {
    Transformer model(directory.config(), DType::kF32, pool);
    directory.load_into(model.weights());
    model.weights_changed();
    TransformerPolicy::Options options;
    options.recompute = recompute;
    TransformerPolicy policy(model, options);
    GrpoOptions o;
    o.tokens_per_micro_batch = budget;
    o.loss.entropy_coefficient = 0.01;
    auto samples = test::make_samples(4, 4, 48);
    if (own_groups)  // no two samples share a prompt any more
      for (std::size_t i = 0; i < samples.size(); ++i) samples[i].group = i;
    GrpoLearner learner(policy, nullptr, o);
    learner.begin_rollout(samples, 0);
    learner.update();
    return policy.gradient();
  };
  const auto whole = gradient(8192, true, false);
  CHECK(gradient(8192, true, false) == whole);
  CHECK(gradient(8192, false, false) == whole);  // recomputation gives the same bits
  CHECK(relative_distance(gradient(8192, true, true), whole) < 2e-6);
  for (std::int64_t budget : {1, 20, 50}) CHECK(relative_distance(gradient(budget, true, false), whole) < 2e-6);
}

TEST_CASE("activations are kept where they fit: by the recipe, else by the free memory") {
  ComputePool pool(1);
  const ModelDirectory directory(kTiny);
  Transformer model(directory.config(), DType::kF32, pool);
  const std::int64_t kept = model.kept_bytes_per_token(false), least = model.kept_bytes_per_token(true);
  CHECK(least == directory.config().num_hidden_layers * 4 * directory.config().hidden_size);
  CHECK(kept > 3 * least);
  const std::int64_t optimizer = 12 * directory.config().num_parameters(), tokens = 1000;
  CHECK_FALSE(plan_activations(model, tokens, std::nullopt, optimizer + 2 * kept * tokens).recompute);
  const ActivationPlan tight = plan_activations(model, tokens, std::nullopt, optimizer + 2 * kept * tokens - 2);
  CHECK(tight.recompute);
  CHECK(tight.line.find("computed twice") != std::string::npos);
  CHECK(plan_activations(model, tokens, std::nullopt, 1).recompute);
  CHECK_FALSE(plan_activations(model, tokens, std::nullopt, 0).recompute);  // unknown
  CHECK_FALSE(plan_activations(model, tokens, false, 1).recompute);
  CHECK(plan_activations(model, tokens, true, optimizer + 100 * kept * tokens).recompute);
}

TEST_CASE("bf16 master and live weights: rounded after each update, master kept, state round trip bit for bit") {
  test::TransformerRun run(test::tiny_options(), {});
  run.trainer->run();
  const WeightSnapshot state = run.policy->optimizer_state(), live = run.policy->weights(0);
  bool finer = false;
  for (std::size_t i = 0; i < live.tensors.size(); ++i) {
    const auto* master = reinterpret_cast<const float*>(state.tensors[i].data);
    const auto* rounded = reinterpret_cast<const cpu::bf16*>(live.tensors[i].data);
    for (std::int64_t k = 0; k < live.tensors[i].elements(); ++k) {
      REQUIRE(rounded[k] == cpu::to_bf16(master[k]));
      finer = finer || cpu::to_float(rounded[k]) != master[k];
    }
  }
  CHECK(finer);
  test::TransformerRun other(test::tiny_options(), {});
  other.policy->restore_optimizer_state(state);
  CHECK(other.policy->digest() == run.policy->digest());
  WeightSnapshot packed = state;
  packed.tensors.back().dtype = DType::kU8;
  CHECK_THROWS_WITH_AS(other.policy->restore_optimizer_state(packed), doctest::Contains("use device: cuda"), CheckpointError);
}

}  // namespace r1
