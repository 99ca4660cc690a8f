// The SFT learner against transformers and TRL on the same examples (tests/golden/sft_golden.py), and what packing may not change.
#include "sft/sft_learner.h"

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

SftOptions options(std::int64_t budget, double rate = 0) {
  SftOptions o;
  o.tokens_per_micro_batch = budget;
  o.optimizer.learning_rate.peak = rate;
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
      SftLearner learner(p.policy, options(budget));
      const StepReport report = learner.update(test::pointers(golden.examples));
      CHECK(report.metrics.at("loss") == doctest::Approx(golden.loss).epsilon(1e-6));
      CHECK(report.metrics.at("train/micro_batches") == (budget == 1 ? 6 : budget == 30 ? 3 : 1));
      CHECK(report.metrics.at("train/rows") == 17 + 5 + 24 + 11 + 8 + 2 - 6);
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
    SftOptions o = options(30, golden.trl.at("learning_rate"));
    o.optimizer.weight_decay = golden.trl.at("weight_decay");
    o.optimizer.beta2 = golden.trl.at("adam_beta2");
    o.optimizer.max_grad_norm = golden.trl.at("max_grad_norm");
    SftLearner learner(p.policy, o);
    REQUIRE(golden.trl.at("steps").size() == 6);
    for (const auto& step : golden.trl.at("steps")) {
      const StepReport report = learner.update(test::pointers(golden.examples));
      CHECK(report.metrics.at("loss") == doctest::Approx(step.at("loss").get<double>()).epsilon(2e-5));
      CHECK(report.metrics.at("grad_norm") == doctest::Approx(step.at("grad_norm").get<double>()).epsilon(1e-4));
    }
  }
}

TEST_CASE("metrics by hand on a table of logits") {
  ComputePool pool(1);
  TablePolicy policy(4, pool);  // all logits 0: p = 1/4
  SftLearner learner(policy, options(100, 0.5));
  const std::vector<SftExample> examples = {{"a", {0, 1, 2}, {0, 1, 1}}, {"b", {3, 1}, {0, 1}}};
  const auto before = learner.evaluate(test::pointers(examples));
  CHECK(before.at("eval/loss") == doctest::Approx(std::log(4.0)));
  CHECK(before.at("eval/entropy") == doctest::Approx(std::log(4.0)));
  CHECK(before.at("eval/num_tokens") == 3);
  CHECK_FALSE(before.contains("eval/mean_token_accuracy"));  // the table does not say which token is the likeliest
  const StepReport report = learner.update(test::pointers(examples));
  CHECK(report.metrics.at("loss") == doctest::Approx(std::log(4.0)));
  CHECK(report.metrics.at("train/trained_tokens") == 3);
  // d/dz of the mean: (p - 1[target]) / 3 in each of the rows 0, 1, 3.
  CHECK(report.metrics.at("grad_norm") == doctest::Approx(std::sqrt(3 * (0.75 * 0.75 + 3 * 0.0625) / 9)));
  CHECK(learner.evaluate(test::pointers(examples)).at("eval/loss") < 1.2);
  CHECK(learner.version() == 1);
}

TEST_CASE("accuracy is the share of trained tokens that are the likeliest") {
  test::GoldenPolicy p("tiny-llama3");
  const auto examples = test::random_examples({20, 20, 20}, 96, 3);
  SftLearner learner(p.policy, options(1000, 0.02));
  const double before = learner.evaluate(test::pointers(examples)).at("eval/mean_token_accuracy");
  CHECK(before < 0.2);
  for (int i = 0; i < 25; ++i) learner.update(test::pointers(examples));
  CHECK(learner.evaluate(test::pointers(examples)).at("eval/mean_token_accuracy") == 1);
}

TEST_CASE("a bad number names the example") {
  ComputePool pool(1);
  TablePolicy policy(4, pool);
  std::vector<float> table(16, 0.f);
  table[5] = INFINITY;
  policy.load({0, {{"table", DType::kF32, {4, 4}, reinterpret_cast<const std::byte*>(table.data()), -1}}, nullptr});
  SftLearner learner(policy, options(1, 0.1));
  const std::vector<SftExample> examples = {{"good", {0, 1}, {0, 1}}, {"rows.jsonl:7", {1, 1}, {0, 1}}};
  CHECK_THROWS_WITH_AS(learner.update(test::pointers(examples)), doctest::Contains("rows.jsonl:7"), NumericError);
}

}  // namespace r1
