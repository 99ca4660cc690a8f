// The SFT objective against transformers and TRL on the same examples (tests/golden/sft_golden.py), and what packing may not change.
#include "sft/sft_objective.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "model/golden_model.h"
#include "rl/table_policy.h"
#include "rl/transformer_policy.h"
#include "sft/golden_support.h"
#include "sft/test_support.h"

namespace r1 {
namespace {

OptimizerOptions rate(double peak) {
  OptimizerOptions o;
  o.learning_rate.peak = peak;
  return o;
}

}  // namespace

TEST_CASE("loss and gradients of packed batches equal transformers' on each example alone") {
  for (const std::string family : {"tiny-llama3", "tiny-qwen2-tied"}) {
    const test::SftGolden golden(family);
    for (std::int64_t budget : {1, 30, 1000}) {  // alone; three micro-batches; one
      CAPTURE(family);
      CAPTURE(budget);
      test::GoldenPolicy p(family);
      SftObjective objective(p.policy, golden.examples, {});
      const Metrics metrics = test::updates(objective, 1, budget, rate(0)).front();
      CHECK(metrics.at("loss") == doctest::Approx(golden.loss).epsilon(1e-6));
      CHECK(metrics.at("train/micro_batches") == (budget == 1 ? 6 : budget == 30 ? 3 : 1));
      CHECK(metrics.at("train/rows") == 17 + 5 + 24 + 11 + 8 + 2 - 6);
      const std::vector<float> gradient = p.policy.gradient();  // of the last update: the optimizer leaves it
      for (const Parameter& q : p.model.weights().parameters()) {
        CAPTURE(q.name);
        CHECK(test::relative_error(gradient.data() + q.offset, static_cast<std::size_t>(q.elements), golden.floats("grad." + q.name)) < 2e-5);
      }
    }
  }
}

TEST_CASE("the loss curve is that of TRL's SFTTrainer") {
  for (const std::string family : {"tiny-llama3", "tiny-qwen2-tied"}) {
    CAPTURE(family);
    const test::SftGolden golden(family);
    test::GoldenPolicy p(family);
    OptimizerOptions o = rate(golden.trl.at("learning_rate"));
    o.weight_decay = golden.trl.at("weight_decay");
    o.beta2 = golden.trl.at("adam_beta2");
    o.max_grad_norm = golden.trl.at("max_grad_norm");
    SftObjective objective(p.policy, golden.examples, {});
    const std::vector<Metrics> got = test::updates(objective, 6, 30, o);
    REQUIRE(golden.trl.at("steps").size() == got.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      const auto& step = golden.trl.at("steps")[i];
      CHECK(got[i].at("loss") == doctest::Approx(step.at("loss").get<double>()).epsilon(2e-5));
      CHECK(got[i].at("grad_norm") == doctest::Approx(step.at("grad_norm").get<double>()).epsilon(1e-4));
    }
  }
}

TEST_CASE("metrics by hand on a table of logits") {
  ComputePool pool(1);
  TablePolicy policy(4, pool);  // all logits 0: p = 1/4
  const std::vector<SftExample> examples = {{"a", {0, 1, 2}, {0, 1, 1}}, {"b", {3, 1}, {0, 1}}};
  SftObjective objective(policy, examples, examples);
  const Metrics before = objective.evaluate(100);
  CHECK(before.at("eval/loss") == doctest::Approx(std::log(4.0)));
  CHECK(before.at("eval/entropy") == doctest::Approx(std::log(4.0)));
  CHECK(before.at("eval/num_tokens") == 3);
  CHECK_FALSE(before.contains("eval/mean_token_accuracy"));  // the table does not say which token is the likeliest
  const Metrics metrics = test::updates(objective, 1, 100, rate(0.5)).front();
  CHECK(metrics.at("loss") == doctest::Approx(std::log(4.0)));
  CHECK(metrics.at("train/trained_tokens") == 3);
  // d/dz of the mean: (p - 1[target]) / 3 in each of the rows 0, 1, 3.
  CHECK(metrics.at("grad_norm") == doctest::Approx(std::sqrt(3 * (0.75 * 0.75 + 3 * 0.0625) / 9)));
  CHECK(objective.evaluate(100).at("eval/loss") < 1.2);
}

TEST_CASE("accuracy is the share of trained tokens that are the likeliest") {
  test::GoldenPolicy p("tiny-llama3");
  const auto examples = test::random_examples({20, 20, 20}, 96, 3);
  SftObjective objective(p.policy, examples, examples);
  const double before = objective.evaluate(1000).at("eval/mean_token_accuracy");
  CHECK(before < 0.2);
  test::updates(objective, 25, 1000, rate(0.02));
  CHECK(objective.evaluate(1000).at("eval/mean_token_accuracy") == 1);
}

TEST_CASE("a bad number names the example") {
  ComputePool pool(1);
  TablePolicy policy(4, pool);
  std::vector<float> table(16, 0.f);
  table[5] = INFINITY;
  policy.load({0, {{"table", DType::kF32, {4, 4}, reinterpret_cast<const std::byte*>(table.data()), -1}}, nullptr});
  const std::vector<SftExample> examples = {{"good", {0, 1}, {0, 1}}, {"rows.jsonl:7", {1, 1}, {0, 1}}};
  SftObjective objective(policy, examples, {});
  CHECK_THROWS_WITH_AS(test::updates(objective, 1, 1, rate(0.1)), doctest::Contains("rows.jsonl:7"), NumericError);
}

}  // namespace r1
